"""Our part of dhcpd.conf: one include file, rendered whole, that stands inside the administrator's own file.

Everything that decides what a PC boots lies inside our subnets, so that a client of another subnet never meets it.
Firmware is told apart by option 93 (RFC 4578, 2.1) and gets a network boot program; iPXE by its user class, and gets
the boot script: a text script is never given to firmware. One PC is up to three DHCP clients (firmware, iPXE, its
operating system) with one MAC, so client identifiers are ignored, and firmware's leases are short.

A host declaration is one line, its *normal form*: what the file says and what is wanted are compared as text.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from controller.core.desired import DhcpConfig, Host, Subnet
from controller.core.names import BOOT_FOLDER, BOOT_SCRIPT, Site
from controller.core.newest import newest
from manifests.types import Cidr, Hostname, Ipv4, Mac, shown

NBPS: Mapping[str, tuple[str, ...]] = {"undionly.kpxe": ("00:00",), "ipxe.efi": ("00:07", "00:09"), "snponly.efi": ()}
"""Network boot programs, with the architectures (option 93) that get them: 0 is BIOS, 7 and 9 are x64 UEFI. Where
``ipxe.efi`` has no driver for a card, an administrator may hand out ``snponly.efi``, which uses the firmware's own."""

_FORCED: Mapping[Literal["auto", "bios", "uefi"], str] = {"bios": "undionly.kpxe", "uefi": "ipxe.efi"}
_LEASE = "default-lease-time 30; min-lease-time 30; max-lease-time 30;"
_IPXE = 'option user-class = "iPXE"'
# iPXE's no-pxedhcp (176) inside its encapsulated options (175): it waits up to three seconds for the offers of other boot
# servers else. By number, because a definition by name would replace one that the administrator's file may have.
_ALONE = "option unknown-175 b0:01:01;"
_PXE = 'substring(option vendor-class-identifier, 0, 9) = "PXEClient"'
_HEADER = re.compile(
    r"# ggnet include: rewritten by GGnet whenever it differs\n"
    r"# ggnet site (?P<site>[a-z0-9-]{1,63}) server (?P<server>[a-z0-9-]{1,63})"
    r" generation (?P<generation>[0-9]{1,18}) sha256 (?P<sha256>[0-9a-f]{64})\n",
    re.ASCII,
)
_NORMAL = re.compile(
    r"host (?P<name>\S+) \{ hardware ethernet (?P<mac>\S+);(?: fixed-address (?P<address>\S+);)?"
    r' option host-name "(?P<hostname>[^"]*)";(?: if [^\n]* filename "ggnet/(?P<program>\S+)"; \})? \}',
    re.ASCII,
)
_PLAIN = re.compile(r"[A-Za-z0-9._:-]+", re.ASCII)
_TOKEN = re.compile(r'#[^\n]*|"(?:[^"\\\n]|\\.)*"?|[{};,]|[^\s{};,"#]+')


@dataclass(frozen=True, slots=True)
class Header:
    """The first lines of the include. ``sha256`` is what its writer says of the body."""

    site: str
    server: str
    generation: int
    sha256: str


def body(config: DhcpConfig, boot: str = BOOT_SCRIPT) -> str:
    """The include without its header; ``boot`` is what iPXE runs. ValueError for a value that must not reach the file."""
    served = [subnet for subnet in sorted(config.subnets, key=lambda s: s.name) if not subnet.external]
    parts = ["option ggnet-arch code 93 = unsigned integer 16;\n"]
    parts += [_subnet(subnet, boot) for subnet in served]
    return "\n".join([*parts, *stanzas(config).values(), ""])


@newest(4)
def digest(config: DhcpConfig) -> str:
    """sha256 of the body: what ``DhcpState.file`` and ``loaded`` are compared with."""
    return hashlib.sha256(body(config).encode()).hexdigest()


def include(config: DhcpConfig, site: Site, generation: int) -> str:
    """The whole file."""
    text = body(config)
    return header(site, generation, hashlib.sha256(text.encode()).hexdigest()) + text


def header(site: Site, generation: int, sha256: str) -> str:
    """The mark that makes the file ours. ValueError."""
    text = (
        "# ggnet include: rewritten by GGnet whenever it differs\n"
        f"# ggnet site {site.site} server {site.server} generation {generation} sha256 {sha256}\n"
    )
    if not _HEADER.fullmatch(text):
        raise ValueError(f"site {shown(site.site)}, server {shown(site.server)}: not names that a header can carry")
    return text


@newest(2)
def stanzas(config: DhcpConfig) -> Mapping[str, str]:
    """Host name -> normal form, by name. A host of a network that somebody else answers on has none.

    Remembered: of the same thousands of hosts it is asked several times in each plan and in each load.
    """
    served = [subnet for subnet in config.subnets if not subnet.external]
    others = [subnet for subnet in config.subnets if subnet.external]
    return {
        host.name: _host(host)
        for host in sorted(config.hosts, key=lambda h: h.name)
        if (host.address is None and served) or (host.address and not any(host.address in s.cidr for s in others))
    }


@dataclass(frozen=True, slots=True)
class Conflict:
    """Why a host may not be answered, though dhcpd itself would take it; ``rival`` is the host that it collides with."""

    message: str
    rival: str | None = None


def conflicts(config: DhcpConfig) -> Mapping[str, Conflict]:
    """Hosts that contradict the networks, or a host before them by name: dhcpd checks none of this.

    The cards of one machine may share its address.
    """
    served = [subnet for subnet in config.subnets if not subnet.external]
    rendered = stanzas(config)
    macs: dict[Mac, Host] = {}
    addresses: dict[Ipv4, Host] = {}
    found: dict[str, Conflict] = {}
    for host in sorted((h for h in config.hosts if h.name in rendered), key=lambda h: h.name):
        address = host.address
        twin = macs.get(host.mac)
        other = addresses.get(address) if address else None
        misplaced = _misplaced(address, served) if address else None
        if misplaced:
            found[host.name] = Conflict(misplaced)
        elif twin:
            found[host.name] = Conflict(f"MAC {host.mac} is that of {twin.name} too", twin.name)
        elif other and other.machine != host.machine:
            found[host.name] = Conflict(f"address {address} is that of {other.name} too", other.name)
        else:
            macs[host.mac] = host
            if address:
                addresses[address] = host
    return found


def parse_host(text: str, machine: str) -> Host | None:
    """The host of this machine whose normal form ``text`` is; None for a text that we would not have written."""
    match = _NORMAL.fullmatch(text)
    if match is None:
        return None
    forced = {program: firmware for firmware, program in _FORCED.items()}
    try:
        found = Host(
            name=match["name"],
            machine=machine,
            mac=Mac.parse(match["mac"]),
            hostname=match["hostname"],
            address=Ipv4.parse(match["address"]) if match["address"] else None,
            firmware=forced.get(match["program"] or "", "auto"),
        )
        return found if _host(found) == text else None
    except ValueError:
        return None


def split(text: str) -> tuple[Header | None, str]:
    """The header and the body. A file whose header is damaged has none, and is all body."""
    match = _HEADER.match(text)
    if not match:
        return None, text
    return Header(match["site"], match["server"], int(match["generation"]), match["sha256"]), text[match.end() :]


def parse_header(text: str) -> Header | None:
    return split(text)[0]


def own_hosts(text: str) -> Mapping[str, str]:
    """What ``parse_hosts`` finds in a body that ``body`` made, by its lines alone."""
    return {line.split(" ", 2)[1]: line for line in text.split("\n") if line.startswith("host ")}


def parse_hosts(text: str) -> Mapping[str, str]:
    """Host name -> normal form of every host declaration, however it is laid out; never fails."""
    tokens = [token for token in _TOKEN.findall(text) if not token.startswith("#")]
    return {name: " ".join(words).replace(" ;", ";").replace(" ,", ",") for name, words in _declarations(tokens)}


def _misplaced(address: Ipv4, served: Sequence[Subnet]) -> str | None:
    home = next((subnet for subnet in served if address in subnet.cidr), None)
    if home is None:
        return f"address {address} is in none of the networks that are answered here"
    if address in (home.server, home.gateway):
        return f"address {address} is that of the server or the gateway of network {home.name}"
    if home.range and int(home.range[0]) <= int(address) <= int(home.range[1]):
        return f"address {address} is inside the dynamic range of network {home.name}"
    return None


def _declarations(tokens: Sequence[str]) -> Iterator[tuple[str, Sequence[str]]]:
    at = 0
    while at + 2 < len(tokens):
        if tokens[at] != "host" or tokens[at + 2] != "{" or (at and tokens[at - 1] not in "{};"):
            at += 1
            continue
        end, depth = at + 3, 1
        while end < len(tokens) and depth:
            depth += {"{": 1, "}": -1}.get(tokens[end], 0)
            end += 1
        yield tokens[at + 1], tokens[at:end]
        at = end


def _subnet(subnet: Subnet, boot: str) -> str:
    network = Cidr.parse(subnet.cidr).network
    lines = [
        f"subnet {network.network_address} netmask {network.netmask} {{",
        f"  # network {_plain(subnet.name)}",
        "  authoritative;",
        "  ignore-client-uids true;",
        f"  next-server {Ipv4.parse(subnet.server)};",
    ]
    for option, values in (
        ("routers", (subnet.gateway,) if subnet.gateway else ()),
        ("domain-name-servers", subnet.dns),
        ("ntp-servers", subnet.ntp),
    ):
        if values:
            lines.append(f"  option {option} {', '.join(Ipv4.parse(value) for value in values)};")
    if subnet.domain:
        lines.append(f'  option domain-name "{_plain(subnet.domain)}";')
    first_last = " ".join(Ipv4.parse(end) for end in subnet.range) if subnet.range else ""
    lines.append(f"  range {first_last};" if first_last else "  deny unknown-clients;")
    return "\n".join([*lines, *_choice(boot), "}", ""])


def _choice(boot: str) -> list[str]:
    """What the client gets to run: a script for iPXE, else a program by architecture, nothing for an operating system."""
    script = "/".join(_plain(part) for part in boot.split("/"))
    lines = [f"  if {_PXE} {{", f"    {_LEASE}", "  }", f"  if {_IPXE} {{", f'    filename "{script}";', f"    {_ALONE}"]
    for program, architectures in NBPS.items():
        if architectures:
            any_of = " or ".join(f"option ggnet-arch = {arch}" for arch in architectures)
            lines += [f"  }} elsif {any_of} {{", f'    filename "{BOOT_FOLDER}/{program}";']
    return [*lines, "  }"]


def _host(host: Host) -> str:
    words = [f"hardware ethernet {Mac.parse(host.mac)};"]
    if host.address:
        words.append(f"fixed-address {Ipv4.parse(host.address)};")
    words.append(f'option host-name "{Hostname.parse(host.hostname)}";')
    if host.firmware in _FORCED:
        words.append(f'if {_IPXE} {{ }} elsif {_PXE} {{ filename "{BOOT_FOLDER}/{_FORCED[host.firmware]}"; }}')
    return f"host {_plain(host.name)} {{ {' '.join(words)} }}"


def _plain(value: str) -> str:
    if not _PLAIN.fullmatch(value):
        raise ValueError(f"{shown(value)} may not stand in dhcpd.conf: letters, digits and . _ : - only")
    return value
