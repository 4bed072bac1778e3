"""What comes from the network, gathered into blocks that are worth a thread: one for each piece would cost more than the
disk does."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence

Block = Sequence[bytes]
_BLOCK = 1 << 20  # bytes
_MOST = 512  # pieces of a block, so that tiny ones do not fill the memory by their number


async def blocks(pieces: AsyncIterator[bytes]) -> AsyncGenerator[Block, None]:
    """All that came, also when it breaks off: then the last block is given before the error."""
    gathered, length = list[bytes](), 0
    try:
        async for piece in pieces:
            gathered.append(piece)
            length += len(piece)
            if length >= _BLOCK or len(gathered) >= _MOST:
                block, gathered, length = gathered, [], 0
                yield block
    except Exception:
        if length:
            yield gathered
        raise
    if length:
        yield gathered
