"""What dhcpd tells a running PC stays as it is until that PC is off.

One that is refused its address when it asks to keep it loses its disk with it (RFC 2131, 4.4.5).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from controller.core.desired import Desired, DhcpConfig, Host
from controller.core.names import Site
from controller.core.observed import DhcpState, Login, Observed
from controller.core.render import dhcpd


def waiting(config: DhcpConfig, desired: Desired, observed: Observed, site: Site) -> dict[str, str | None]:
    """Host declarations that stay as the file has them, with the reason, which only a pass over their machine knows.

    Those that somebody has changed for a machine whose PC runs, and new ones that would collide with what stays.
    """
    state = observed.dhcp
    texts = dhcpd.stanzas(config)
    waits: dict[str, str | None] = {}
    for name, text in state.hosts.items():
        if texts.get(name) == text or dhcpd.parse_host(text, machine_of(name)) is None:
            continue
        client = desired.clients.get(machine_of(name))
        if client is None and not desired.complete:
            waits[name] = None
        elif client is not None and not client.settled and not client.disruption:
            reason = _runs(client.machine, observed, site)
            if reason:
                waits[name] = reason
    return _with_rivals(config, waits, state) if waits else waits


def _runs(machine: str, observed: Observed, site: Site) -> str | None:
    """Why this machine's PC counts as running, and its address as taken."""
    iqn = site.target(machine)
    remedy = f"shut it down, or annotate Machine/{machine} with ggnet/disruption=allowed"
    if iqn in observed.unreadable or "lio" in observed.unreadable:
        return f"whether {machine} is running could not be read, so what dhcpd tells it stays: {remedy}"
    target = observed.targets.get(iqn)
    if target is None or target.login is Login.NONE:
        return None
    return f"{machine} is running, and would lose its disk with its address: {remedy}"


def _with_rivals(config: DhcpConfig, waits: dict[str, str | None], state: DhcpState) -> dict[str, str | None]:
    """With the hosts that would collide with one that stays, and with those that would collide with these."""
    found = dict(waits)
    while True:
        stay = list(_staying(found, state))
        macs, addresses = {h.mac: h for h in stay}, {h.address: h for h in stay if h.address}
        more: dict[str, str | None] = {}
        for host in config.hosts:
            rival = macs.get(host.mac) or (addresses.get(host.address) if host.address else None)
            if host.name not in found and rival and rival.machine != host.machine:
                more[host.name] = f"its MAC or address is still that of {rival.machine}: {found[rival.name] or 'wait'}"
        if not more:
            return found
        found |= more


def _staying(waits: Iterable[str], state: DhcpState) -> Iterator[Host]:
    for name in waits:
        host = dhcpd.parse_host(state.hosts[name], machine_of(name)) if name in state.hosts else None
        if host is not None:
            yield host


def without(config: DhcpConfig, waits: Mapping[str, str | None], state: DhcpState) -> DhcpConfig:
    """The configuration with the old declarations of those that wait."""
    if not waits:
        return config
    hosts = [host for host in config.hosts if host.name not in waits] + list(_staying(waits, state))
    return replace(config, hosts=tuple(sorted(hosts, key=lambda host: host.name)))


def machine_of(host: str) -> str:
    """The machine of one of our host declarations, whether it is asked for or not (``names.dhcp_host`` undone)."""
    return host.removeprefix("ggnet-").rpartition("-")[0] or host
