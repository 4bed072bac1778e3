"""dhcpd's own opinion of a configuration, before it is served: ``dhcpd -t`` on a copy of the administrator's file."""

import re
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
from anyio import to_thread

from controller.adapters import command, dhcpd_conf, files
from controller.adapters.dhcpd_conf import Main
from controller.core.desired import DhcpConfig
from controller.core.names import Site
from controller.core.render import dhcpd as render
from controller.ports.host import EffectRefused

_ERROR = re.compile(r"\S+ line [0-9]+: ")
_NAME = re.compile(r"[\w-]+")
_BANNER = re.compile(r"Internet Systems|Copyright|All rights|For info|Config file:|Database file:|PID file:")
_CHECKS = 400  # in one search: enough for 20 refused hosts among 100,000 when dhcpd names none of them


@dataclass(frozen=True, slots=True)
class Verdict:
    """What ``dhcpd -t`` said: None if it takes all, or its first words; every error (``FILE line N: ...``) and warning."""

    message: str | None
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class Trial:
    """A search for the hosts that dhcpd refuses, by asking it about parts of ``config``.

    ``candidate`` is a file in our include's folder, so that a full disk or a missing permission shows here.
    """

    site: Site
    generation: int
    conf: Path
    main: Main
    include: Path
    candidate: Path
    config: DhcpConfig
    left: int = _CHECKS

    async def verdict(self, names: Collection[str]) -> Verdict:
        """On these hosts, with all networks. EffectRefused, CommandError, OSError, ValueError."""
        self.left -= 1
        if self.left < 0:
            raise EffectRefused("DhcpConfigRefused", f"dhcpd refuses too many hosts to name them in {_CHECKS} checks")
        program = command.find("dhcpd")
        if program is None:
            raise EffectRefused("DhcpNotUsable", "dhcpd is not installed: apt install isc-dhcp-server")
        await to_thread.run_sync(files.write, self.candidate, self._text(names).encode())
        with tempfile.TemporaryDirectory(prefix="ggnet-dhcpd-") as folder:
            main = anyio.Path(folder) / "dhcpd.conf"
            text = dhcpd_conf.redirected(self.main, self.include, self.candidate)
            await main.write_bytes(text.encode("utf-8", "surrogateescape"))
            result = await command.run([program, "-t", "-4", "-cf", str(main)], timeout=60)
        said = result.err.decode("utf-8", "replace")
        said = said.replace(str(main), str(self.conf)).replace(str(self.candidate), str(self.include))
        return _verdict(result.code, said.split("Configuration file errors")[0].splitlines())

    async def offenders(self, names: Sequence[str], verdict: Verdict) -> dict[str, str]:
        """Name -> dhcpd's message. Those that dhcpd named, if it takes all others; else found by halving."""
        wanted = set(names)
        named = {name: error for error in verdict.errors for name in _NAME.findall(error) if name in wanted}
        if named and (await self.verdict([name for name in names if name not in named])).message is None:
            return named
        return await self._halved(names, verdict)

    async def _halved(self, names: Sequence[str], verdict: Verdict) -> dict[str, str]:
        if len(names) == 1:
            return {names[0]: verdict.message or "refused"}
        found: dict[str, str] = {}
        middle = len(names) // 2
        for half in (names[:middle], names[middle:]):
            answer = await self.verdict(half)
            if answer.message is not None:
                found |= await self._halved(half, answer)
        if not found:
            raise EffectRefused("DhcpConfigRefused", f"dhcpd refuses its configuration: {verdict.message}")
        return found

    def _text(self, names: Collection[str]) -> str:
        wanted = set(names)
        hosts = tuple(host for host in self.config.hosts if host.name in wanted)
        part = replace(self.config, hosts=hosts) if hosts != self.config.hosts else self.config
        return render.include(part, self.site, self.generation)


def _verdict(code: int, lines: Sequence[str]) -> Verdict:
    told = [
        "".join(c if c.isprintable() else " " for c in line) for line in lines if line.strip() and not _BANNER.match(line)
    ]
    warnings = tuple(line for line in told if line.startswith("Warning:"))
    if code == 0:
        return Verdict(None, warnings=warnings)
    errors = [line for line in told if _ERROR.match(line)]
    words = [word for word in errors if not word.endswith("bad parse.")] or [word for word in told if word not in warnings]
    text = " | ".join(words[:3]) or f"dhcpd -t ended with code {code}"
    return Verdict(text[:600], tuple(errors), warnings)
