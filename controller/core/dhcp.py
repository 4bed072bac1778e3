"""The planner of dhcpd: at most one load, whatever changed.

What counts is what the running dhcpd has *loaded*; the file is only what it would load next. A host that it refused,
written the same way, is left out, or every pass would try again and fail again.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from controller.core.desired import Desired, DhcpConfig
from controller.core.dhcp_waits import machine_of, waiting, without
from controller.core.names import Site
from controller.core.observed import DhcpState, Observed
from controller.core.render import dhcpd
from controller.core.steps import Change, Effect, LoadDhcp, Step


def accepted(config: DhcpConfig, state: DhcpState, texts: Mapping[str, str] | None = None) -> DhcpConfig:
    """The configuration without the hosts that dhcpd would not take as they are written."""
    if not state.refused:
        return config
    texts = texts if texts is not None else dhcpd.stanzas(config)
    return replace(config, hosts=tuple(h for h in config.hosts if not refused(h.name, texts.get(h.name), state)))


def refused(name: str, text: str | None, state: DhcpState) -> bool:
    return name in state.refused and state.refused[name][0] == text


def loads(desired: Desired, observed: Observed, busy: frozenset[str], site: Site) -> Iterator[Step]:
    """What can be loaded now, and what waits for a PC.

    ``busy`` are the owners of earlier due steps. A machine among them does not own the load: it leads nobody to a disk by
    itself, and one machine's trouble must not keep the others from their addresses. A machine whose declaration goes owns
    it, for its script must not go before.
    """
    state = observed.dhcp
    if desired.dhcp is None or state.problem or "dhcp" not in observed.complete or "dhcp" in observed.unreadable:
        return
    asked = accepted(desired.dhcp, state)
    if state.file == dhcpd.digest(asked) == state.loaded and state.running:
        return
    waits = waiting(asked, desired, observed, site)
    yield from _load(without(asked, waits, state), desired, state, busy)
    reason = next(filter(None, (waits[name] for name in sorted(waits))), None)
    if reason:
        changes = tuple(change for change in _hosts(asked, state) if change.field in waits)
        owners = frozenset(f"Machine/{machine_of(change.field)}" for change in changes)
        yield Step(LoadDhcp(asked, state.generation + 1), owners, min(owners), Effect.NEXT_BOOT, changes, held=reason)


def _load(config: DhcpConfig, desired: Desired, state: DhcpState, busy: frozenset[str]) -> Iterator[Step]:
    assert desired.dhcp is not None
    nothing = not config.hosts and all(subnet.external for subnet in config.subnets)
    if nothing and state.file is None:
        return  # a server that answers no DHCP needs no dhcpd
    digest = dhcpd.digest(config)
    if state.file == digest == state.loaded and state.running:
        return
    changes = _hosts(config, state)
    machines = {host.name: host.machine for host in (*config.hosts, *desired.dhcp.hosts)}
    touched = {f"Machine/{machines.get(c.field) or machine_of(c.field)}" for c in changes}
    networks = {f"Network/{subnet.name}": subnet.settled for subnet in config.subnets}
    rest = [Change(n, b, digest) for n, b in (("file", state.file), ("loaded", state.loaded)) if b != digest]
    if not state.running:
        rest.append(Change("running", "no", "yes"))
    yield Step(
        LoadDhcp(config, state.generation + 1),
        frozenset((touched - busy) or networks),
        _cause(desired, touched, networks),
        changes=(*changes, *rest),
        held=_suspended(desired, touched),
    )


def _hosts(config: DhcpConfig, state: DhcpState) -> tuple[Change, ...]:
    texts = dhcpd.stanzas(config)
    names = sorted(name for name in texts.keys() | state.hosts.keys() if texts.get(name) != state.hosts.get(name))
    return tuple(Change(name, state.hosts.get(name), texts.get(name)) for name in names)


def _cause(desired: Desired, touched: set[str], networks: Mapping[str, bool]) -> str:
    if touched:
        unsettled = {key for key in touched if not _settled(desired, key.removeprefix("Machine/"))}
        return min(unsettled, default="drift")
    return min((key for key, settled in networks.items() if not settled), default="drift")


def _settled(desired: Desired, machine: str) -> bool:
    client = desired.clients.get(machine)
    return client is not None and client.settled


def _suspended(desired: Desired, touched: set[str]) -> str | None:
    """Only if nobody but suspended machines is concerned: there is one file, and the others must not wait for them."""
    clients = [desired.clients.get(key.removeprefix("Machine/")) for key in sorted(touched)]
    names = [client.machine for client in clients if client is not None and client.paused]
    return f"suspended: ggnet resume Machine/{names[0]}" if names and len(names) == len(touched) else None
