"""Programs are run without a shell, within limits, and leave nothing behind."""

import os
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import anyio
import pytest

from controller.adapters.command import CommandError, CommandFailed, CommandMissing, CommandOverrun, Result, find, run


def go(work: Callable[[], Awaitable[Result]]) -> Result:
    return anyio.run(work)


def sh(script: str, *, timeout: float = 10, limit: int = 64 << 20, input: bytes = b"") -> Result:
    return go(partial(run, ["sh", "-c", script], timeout=timeout, limit=limit, input=input))


def alive(pidfile: Path) -> bool:
    stat = Path(f"/proc/{pidfile.read_text().strip()}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] not in "ZX"


def ended(pidfile: Path) -> bool:
    """A signal is delivered before its process has had the time to end of it."""
    until = time.monotonic() + 5
    while alive(pidfile) and time.monotonic() < until:
        time.sleep(0.01)
    return not alive(pidfile)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_both_streams_the_code_and_the_time_are_given() -> None:
    result = sh("echo out; echo err >&2; exit 3")
    assert (result.code, result.out, result.err) == (3, b"out\n", b"err\n")
    assert 0 < result.seconds < 5


def test_input_reaches_the_program_and_is_closed() -> None:
    data = os.urandom(300_000)
    assert go(partial(run, ["cat"], timeout=10, input=data)).out == data


def test_more_output_than_a_pipe_holds_is_read_whole() -> None:
    assert len(sh("head -c 3000000 /dev/zero; head -c 2000000 /dev/zero >&2").out) == 3_000_000


def test_no_shell_looks_at_the_words() -> None:
    assert go(partial(run, ["printf", "%s", "$(id) ; * \n`x`"], timeout=10)).out == b"$(id) ; * \n`x`"


def test_nothing_of_our_environment_is_inherited() -> None:
    names = {line.partition(b"=")[0] for line in go(partial(run, ["env"], timeout=10, env={"HOME": "/x"})).out.splitlines()}
    assert names == {b"PATH", b"LC_ALL", b"HOME"}


def test_no_descriptor_of_ours_is_inherited() -> None:
    with Path("/etc/passwd").open("rb") as ours:
        os.set_inheritable(ours.fileno(), True)
        links = sh("ls -l /proc/self/fd").text
    assert "passwd" not in links


@pytest.mark.parametrize("argv", [["ggnet-no-such-program"], ["/etc/passwd"], ["/etc"], ["a\0b"]])
def test_a_program_that_cannot_be_run_is_missing_by_name(argv: list[str]) -> None:
    with pytest.raises(CommandMissing, match="cannot be run"):
        go(partial(run, argv, timeout=10))


def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(CommandMissing, match="/no/such/folder"):
        go(partial(run, ["true"], timeout=10, cwd=Path("/no/such/folder")))


def test_a_failure_carries_the_program_its_code_and_its_last_lines_printable() -> None:
    with pytest.raises(CommandFailed, match=r"sh ended with code 7: 48 \| 49 \| 50 \| two \| thr ee") as caught:
        sh(r"seq 50 >&2; echo two >&2; printf 'thr\033ee\n' >&2; exit 7").check()
    assert caught.value.code == 7
    assert "\x1b" not in str(caught.value)
    assert len(caught.value.tail) <= 600


def test_a_signal_is_told_as_a_signal() -> None:
    with pytest.raises(CommandFailed, match="signal 15"):
        sh("kill -TERM $$").check()


def test_a_program_over_its_time_is_killed_with_its_children(tmp_path: Path) -> None:
    with pytest.raises(CommandOverrun, match=r"after 1.5 s: working"):
        sh(f"echo working; sleep 60 & echo $! > {tmp_path}/pid; wait", timeout=1.5)
    assert ended(tmp_path / "pid")


def test_a_cancelled_caller_leaves_no_program_behind(tmp_path: Path) -> None:
    async def work() -> Result:
        with anyio.move_on_after(1.5):
            return await run(["sh", "-c", f"sleep 60 & echo $! > {tmp_path}/pid; wait"], timeout=60)
        return Result("", 0, b"", b"", 0)

    go(work)
    assert ended(tmp_path / "pid")


def test_a_program_that_says_too_much_is_ended() -> None:
    with pytest.raises(CommandOverrun, match="1000 bytes"):
        sh("yes", limit=1000)


def test_a_daemon_left_behind_with_our_pipes_is_neither_waited_for_nor_killed(tmp_path: Path) -> None:
    before = time.monotonic()
    assert sh(f"sleep 30 & echo $! > {tmp_path}/pid; echo started").out == b"started\n"
    assert time.monotonic() - before < 5
    assert alive(tmp_path / "pid")
    os.kill(int((tmp_path / "pid").read_text()), 9)


def test_no_descriptor_is_leaked() -> None:
    async def work() -> Result:
        await run(["true"], timeout=10)
        before = descriptors()
        for _ in range(5):
            with pytest.raises(CommandError):
                await run(["ggnet-no-such-program"], timeout=10)
            last = await run(["true"], timeout=10)
        assert descriptors() == before
        return last

    go(work)


def test_programs_are_found_on_the_path_that_is_searched() -> None:
    assert find("sh")
    assert find("ggnet-no-such-program") is None
