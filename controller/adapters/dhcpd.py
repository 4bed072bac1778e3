"""ISC dhcpd: one include of ours inside the administrator's file, checked before it is put there, and one restart.

What stands in the file and what dhcpd has loaded are two things, observed apart. A load never loses what is served: the
candidate is checked by dhcpd itself before the file is replaced, and if dhcpd does not come up with it, the last file
that it did come up with is put back.
"""

import hashlib
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from anyio import to_thread

from controller.adapters import command, dhcpd_conf, dhcpd_record, files, ticks
from controller.adapters.dhcpd_conf import Main, MainProblem
from controller.adapters.dhcpd_record import Process, Record, Refusal
from controller.adapters.dhcpd_trial import Trial
from controller.core.desired import DhcpConfig
from controller.core.names import Site
from controller.core.observed import DhcpState
from controller.core.render import dhcpd as render
from controller.core.steps import LoadDhcp
from controller.ports.clock import Clock
from controller.ports.host import EffectFailed, EffectRefused

_NOTHING = render.digest(DhcpConfig())
_HEAD = 512  # bytes that hold any header
_MARGIN = 2.0  # seconds that a process must be younger than the file, to have read it for sure
_SETTLE = 0.3  # seconds that a started dhcpd must stay


@dataclass(frozen=True, slots=True)
class _File:
    """What stands in the include. ``digest`` is that of its body; ``speaks``: it has no header of ours, and more in it
    than comments; ``changed`` is when, in seconds since 1970."""

    header: render.Header | None = None
    digest: str | None = None
    hosts: Mapping[str, str] = field(default_factory=dict)
    speaks: bool = False
    changed: float = 0.0


@dataclass(frozen=True, slots=True)
class _View:
    """One look. ``loaded`` as in ``DhcpState``."""

    problem: str | None = None
    main: Main | None = None
    file: _File = field(default_factory=_File)
    process: Process | None = None
    loaded: str | None = None
    record: Record = field(default_factory=Record)

    def refused(self, networks: str | None = None, stanzas: Collection[str] | None = None) -> Mapping[str, Refusal]:
        """Refusals that still hold, for these networks and these other hosts (by default those of the file)."""
        if not self.main or self.record.main != self.main.sha256 or networks not in (None, self.record.networks):
            return {}
        others = {"", *(self.file.hosts.values() if stanzas is None else stanzas)}
        others |= {refusal.stanza for refusal in self.record.refused.values()}
        return {name: refusal for name, refusal in self.record.refused.items() if refusal.rival in others}


class IscDhcpd:
    """Answers ``ports.Dhcp``. ``restart`` is a systemd unit, or a command line when it holds a space or a slash.

    ``patience`` are the seconds that a dhcpd may take, once it was restarted, to be found by its pidfile.
    """

    def __init__(
        self,
        site: Site,
        clock: Clock,
        *,
        include: Path,
        conf: Path,
        restart: str,
        pidfile: Path,
        state_dir: Path,
        patience: float = 10.0,
    ) -> None:
        self._site = site
        self._clock = clock
        self._include = include
        self._conf = conf
        self._restart = restart
        self._pidfile = pidfile
        self._patience = patience
        self._record = state_dir / "dhcpd.json"
        self._previous = state_dir / "dhcpd.previous.conf"
        self._candidate = include.with_name(f".{include.name}.candidate")
        self._seen: tuple[ticks.Stamp | None, _File] = (None, _File())

    async def observe(self) -> DhcpState:
        """No program is run, and no file read that is as it was. One with nothing in it, and no dhcpd, is told as absent."""
        view = await to_thread.run_sync(self._look)
        file = view.file
        idle = view.process is None and file.digest == _NOTHING
        return DhcpState(
            file=None if idle else file.digest,
            loaded=view.loaded,
            running=view.process is not None,
            generation=file.header.generation if file.header else 0,
            hosts=file.hosts,
            refused={name: (refusal.stanza, refusal.message) for name, refusal in view.refused().items()},
            problem=view.problem,
        )

    async def load(self, action: LoadDhcp) -> Mapping[str, str]:
        """EffectRefused, EffectFailed: then what was served before is served still, or the message says otherwise."""
        view = await to_thread.run_sync(self._look)
        if view.problem or not view.main:
            raise EffectRefused("DhcpNotUsable", view.problem or f"{self._conf} cannot be read")
        try:
            config, refused = self._fence(action.config, view)
            refused |= await self._refused_by_dhcpd(config, view, action.generation)
            config = _without(config, refused)
            if view.file.digest != render.digest(config) or view.loaded != view.file.digest:
                await self._serve(config, view, action.generation)
            await to_thread.run_sync(self._remember, config, refused, view)
        except OSError as error:
            name = error.filename or self._include
            raise EffectFailed("DhcpFileNotWritten", f"{name}: {error.strerror or error}") from error
        except ValueError as error:
            raise EffectRefused("DhcpConfigInvalid", str(error)) from error
        except command.CommandError as error:
            raise EffectFailed("DhcpCheckFailed", str(error)) from error
        finally:
            await to_thread.run_sync(self._tidy)
        named = {host.name for host in action.config.hosts}
        return {name: refusal.message for name, refusal in refused.items() if name in named}

    # --- looking ------------------------------------------------------------------------------------------------

    def _look(self) -> _View:
        record = dhcpd_record.read(self._record)
        process = dhcpd_record.find(self._pidfile)
        view = _View(process=process, record=record or Record())
        problem = None
        try:
            view = replace(view, file=self._look_at_file())
        except OSError as error:
            problem = f"{self._include} cannot be read: {error.strerror or error}"
            if self._include.is_symlink():
                problem = f"{self._include} is a symbolic link, which is never followed: remove it"
        else:
            view = replace(view, loaded=self._loaded(view))
        try:
            view = replace(view, main=dhcpd_conf.read_main(self._conf, self._include))
        except MainProblem as error:
            problem = str(error)
        return replace(view, problem=problem or self._problem(view, known=record is not None))

    def _look_at_file(self) -> _File:
        """OSError."""
        tick = ticks.now()
        try:
            there = self._include.lstat()
            stamp = ticks.stamp(there, tick)
            if stamp is None or stamp != self._seen[0]:
                self._seen = (stamp, self._read(there.st_ctime))
            return self._seen[1]
        except FileNotFoundError:
            return _File()

    def _read(self, changed: float) -> _File:
        data = files.read(self._include, dhcpd_conf.LIMIT)
        header, body = _split(data)
        digest = hashlib.sha256(body).hexdigest()
        known = self._seen[1]
        hosts = known.hosts if known.digest == digest else _hosts(body, header is not None and header.sha256 == digest)
        speaks = header is None and any(map(_says_something, data.splitlines()))
        return _File(header, digest, hosts, speaks, changed)

    def _loaded(self, view: _View) -> str | None:
        if view.process is None:
            return None
        if view.process == view.record.process:
            return view.record.digest
        started = self._clock.now().timestamp() - view.process.age()
        return view.file.digest if started > view.file.changed + _MARGIN else None

    def _problem(self, view: _View, known: bool) -> str | None:
        """What somebody must change before we can serve; ``known``: our record shows that the include is ours."""
        if command.find("dhcpd") is None:
            return "dhcpd is not installed: apt install isc-dhcp-server"
        header = view.file.header
        if header and (header.site, header.server) != (self._site.site, self._site.server):
            return f"{self._include} belongs to site {header.site}, server {header.server}: name another file, or remove it"
        if view.file.speaks and not known:
            return f"{self._include} holds what GGnet did not write: move it away, or name another file"
        if view.process is None and dhcpd_record.port_taken(67):
            return f"dhcpd does not run ({self._pidfile}), and another program holds UDP port 67: stop that one"
        return None

    # --- which hosts --------------------------------------------------------------------------------------------

    def _fence(self, config: DhcpConfig, view: _View) -> tuple[DhcpConfig, dict[str, Refusal]]:
        """What is left to ask dhcpd, and what is refused already: as before, or by our own rules. ValueError."""
        stanzas = render.stanzas(config)
        before = view.refused(_networks(config), stanzas.values())
        refused = {name: refusal for name, refusal in before.items() if stanzas.get(name, refusal.stanza) == refusal.stanza}
        config = _without(config, refused)
        for name, conflict in render.conflicts(config).items():
            refused[name] = Refusal(stanzas[name], conflict.message, stanzas.get(conflict.rival or "", ""))
        return _without(config, refused), refused

    async def _refused_by_dhcpd(self, config: DhcpConfig, view: _View, generation: int) -> dict[str, Refusal]:
        """The hosts that dhcpd will not take. EffectRefused if it takes not even none of them."""
        if view.file.digest == view.loaded == render.digest(config):
            return {}
        assert view.main, "a load without the administrator's file was refused"
        trial = Trial(self._site, generation, self._conf, view.main, self._include, self._candidate, config)
        names = list(render.stanzas(config))
        verdict = await trial.verdict(names)
        for warning in verdict.warnings:
            if "overlaps subnet" in warning and any(
                subnet.cidr in warning for subnet in config.subnets if not subnet.external
            ):
                raise EffectRefused("DhcpSubnetDeclaredTwice", f"{self._conf} declares a network of ours too: {warning}")
        if verdict.message is None:
            return {}
        empty = await trial.verdict([])
        if empty.message is not None:
            raise EffectRefused("DhcpConfigRefused", f"dhcpd refuses its configuration: {empty.message}")
        messages = await trial.offenders(names, verdict)
        stanzas = render.stanzas(config)
        return {name: Refusal(stanzas[name], message) for name, message in messages.items()}

    # --- serving ------------------------------------------------------------------------------------------------

    async def _serve(self, config: DhcpConfig, view: _View, generation: int) -> None:
        """The file is replaced unless it is right already, and dhcpd restarted; on failure the previous file is back."""
        digest = render.digest(config)
        if view.file.digest != digest:
            await to_thread.run_sync(self._swap, render.include(config, self._site, generation).encode(), view)
        failure = await self._started()
        if failure is None or digest == _NOTHING:
            return  # dhcpd may well not run when there is no network for it
        fallback = await to_thread.run_sync(self._fall_back)
        again = await self._started()
        if again is not None:
            served = f"dhcpd does not run with the previous file either: {again}"
        else:
            served = "the previous file is served"
            await to_thread.run_sync(self._record_loaded, fallback, view)
        raise EffectFailed("DhcpNotRestarted", f"dhcpd did not come up with the new file: {failure}; {served}")

    def _swap(self, data: bytes, view: _View) -> None:
        if view.file.header and view.file.digest == view.loaded:
            served = files.read(self._include, dhcpd_conf.LIMIT)
            if hashlib.sha256(_split(served)[1]).hexdigest() == view.loaded:
                self._previous.parent.mkdir(parents=True, exist_ok=True)
                files.replace(self._previous, served, 0o600)
        files.write(self._candidate, data)
        files.rename_durably(self._candidate, self._include)

    def _fall_back(self) -> str:
        """The last file that dhcpd came up with is in place again, or one with nothing in it; its digest. OSError."""
        try:
            data = files.read(self._previous, dhcpd_conf.LIMIT)
        except FileNotFoundError:
            data = render.include(DhcpConfig(), self._site, 0).encode()
        files.replace(self._include, data)
        return hashlib.sha256(_split(data)[1]).hexdigest()

    async def _started(self) -> str | None:
        """Restarts dhcpd and waits until a new process is up and stays; None, or why it is not."""
        before = await to_thread.run_sync(dhcpd_record.find, self._pidfile)
        words = shlex.split(self._restart)
        argv: Sequence[str] = words if " " in self._restart or "/" in self._restart else ("systemctl", "restart", *words)
        try:
            (await command.run(argv, timeout=90)).check()
        except command.CommandError as error:
            hint = f" (journalctl -u {self._restart})" if argv[0] == "systemctl" else ""
            return f"{error}{hint}"
        until = self._clock.monotonic() + self._patience
        while self._clock.monotonic() < until:
            process = await to_thread.run_sync(dhcpd_record.find, self._pidfile)
            if process is not None and process != before:
                await self._clock.sleep(_SETTLE)
                if await to_thread.run_sync(dhcpd_record.find, self._pidfile) == process:
                    return None
            await self._clock.sleep(0.05)
        return f"no dhcpd is running by {self._pidfile} that was started by: {self._restart}"

    def _record_loaded(self, digest: str, view: _View) -> None:
        process = dhcpd_record.find(self._pidfile)
        dhcpd_record.write(self._record, replace(view.record, digest=digest, process=process))

    def _remember(self, config: DhcpConfig, refused: Mapping[str, Refusal], view: _View) -> None:
        """What is loaded and what was left out, durably; nothing is written when nothing changed."""
        assert view.main, "a load without the administrator's file was refused"
        process = dhcpd_record.find(self._pidfile)
        record = Record(render.digest(config), process, view.main.sha256, _networks(config), refused)
        if record != view.record:
            dhcpd_record.write(self._record, record)

    def _tidy(self) -> None:
        try:
            files.remove(self._candidate)
        except OSError:
            return  # the folder cannot be written: the next load says so


def _hosts(body: memoryview, untouched: bool) -> Mapping[str, str]:
    """``untouched``: as it was written, by us."""
    text = str(body, "utf-8", "surrogateescape")
    return render.own_hosts(text) if untouched else render.parse_hosts(text)


def _without(config: DhcpConfig, refused: Collection[str]) -> DhcpConfig:
    if not refused:
        return config
    return replace(config, hosts=tuple(host for host in config.hosts if host.name not in refused))


def _networks(config: DhcpConfig) -> str:
    return render.digest(replace(config, hosts=()))


def _split(data: bytes) -> tuple[render.Header | None, memoryview]:
    """The header and the body."""
    start = data[:_HEAD].decode("utf-8", "surrogateescape")
    header, rest = render.split(start)
    # The cut may part a character; a header is ASCII, one byte a character.
    return header, memoryview(data)[len(start) - len(rest) if header else 0 :]


def _says_something(line: bytes) -> bool:
    return bool(line.strip()) and not line.strip().startswith(b"#")
