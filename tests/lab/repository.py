"""A git repository of manifests that somebody commits to: a bare one, which the daemon reads, and a checkout of it."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.lab.wire import environment

AUTHOR = {"GIT_AUTHOR_NAME": "Ada Operator", "GIT_AUTHOR_EMAIL": "ada@lab.example"}
COMMITTER = {"GIT_COMMITTER_NAME": "Ada Operator", "GIT_COMMITTER_EMAIL": "ada@lab.example"}


class Repository:
    def __init__(self, bare: Path, checkout: Path) -> None:
        self._checkout = checkout
        subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", bare], check=True)
        subprocess.run(["git", "init", "--quiet", "--initial-branch=main", checkout], check=True)
        self._git("remote", "add", "origin", str(bare))

    def commit(self, files: Mapping[str, str | None], message: str) -> str:
        """Writes these files (None: deletes), commits and pushes. The commit's sha."""
        for name, text in files.items():
            path = self._checkout / name
            if text is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message", message)
        self._git("push", "--quiet", "origin", "main")
        return self._git("rev-parse", "HEAD").strip()

    def _git(self, *arguments: str) -> str:
        own = environment(**AUTHOR, **COMMITTER, GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_NOSYSTEM="1")
        command = ["git", "-C", str(self._checkout), *arguments]
        return subprocess.run(command, check=True, env=own, stdout=subprocess.PIPE, text=True).stdout
