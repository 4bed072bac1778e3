"""Uploads a file with tuspy, and goes on by itself when the line is lost: python -m tests.api.tus_py URL TOKEN FILE CHUNK
[checksum]."""

import sys
from pathlib import Path

from tusclient.client import TusClient


def main(url: str, token: str, file: str, chunk: str, *checksum: str) -> None:
    client = TusClient(url, headers={"Authorization": f"Bearer {token}"})
    with Path(file).open("rb") as stream:
        uploader = client.uploader(
            file_stream=stream,
            chunk_size=int(chunk) or sys.maxsize,
            metadata={"filename": "disk.raw"},
            retries=100,
            retry_delay=0.15,
            upload_checksum=bool(checksum),
        )
        uploader.upload()
    print(uploader.url)


if __name__ == "__main__":
    main(*sys.argv[1:])
