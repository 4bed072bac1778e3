"""The command without its start: a process that has imported it forks for each run.

What runs is the whole command in a process of its own; only half a second of imports is shared. Requests and answers
are lines of JSON: argv, environment and three file names in, the exit code out.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from subprocess import PIPE, CompletedProcess, Popen
from types import TracebackType
from typing import Self


class Warm:
    """One warm command; its runs come one after the other."""

    def __init__(self, environment: dict[str, str]) -> None:
        program = [sys.executable, "-W", "error", "-m", "tests.api.warm"]
        self.process = Popen(program, stdin=PIPE, stdout=PIPE, text=True, env=environment, cwd=Path(__file__).parents[2])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.process.__exit__(kind, error, trace)

    def run(self, words: list[str], stdin: str, environment: dict[str, str]) -> CompletedProcess[str]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder, name) for name in ("stdin", "stdout", "stderr")]
            files[0].write_text(stdin)
            request = {"words": words, "environment": environment, "files": [str(file) for file in files]}
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            code = int(self.process.stdout.readline())
            return CompletedProcess(words, code, files[1].read_text(), files[2].read_text())


def child(words: list[str], environment: dict[str, str], files: list[str]) -> None:
    """Becomes the command; never returns."""
    for descriptor, (file, flags) in enumerate(zip(files, (os.O_RDONLY, *2 * [os.O_WRONLY | os.O_CREAT]), strict=True)):
        opened = os.open(file, flags, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir("/")
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 what the parent had read ahead is not the child's
    sys.argv = ["ggnet", *words]
    from api.cli.main import main

    main()


def serve() -> None:
    import typer._adapters
    import yaml
    from httpx import Client

    from api.cli import main
    from controller import bootstrap
    from controller.settings import Settings
    from manifests import load, references

    assert all((typer, yaml, main, bootstrap, Settings, load, references))
    Client(verify=False).close()
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            child(**request)
            sys.exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
