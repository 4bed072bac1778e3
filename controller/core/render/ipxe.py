"""What a PC's firmware runs: one constant script for all, and one script for each card of a machine with a session.

iPXE expands ``${...}`` and knows no quoting, so no value that is not made of letters, digits and ``. _ : -`` may reach
a script. The typed values cannot hold anything else; the fence here is the second one.
"""

import re
from dataclasses import dataclass

from controller.core.names import BOOT_FOLDER, BOOT_SCRIPT, Site
from controller.core.names import parse_script as parse_script_path
from controller.core.render.dhcpd import NBPS
from manifests.types import Ipv4, Iqn, Name, shown

PROGRAM_PATHS = frozenset(f"{BOOT_FOLDER}/{name}" for name in NBPS)
CARDS = 8
ATTEMPTS = 5
SECRETS_PORT = 8067
_FIRST = 0x80  # the BIOS's number for the drive that boots
_PLAIN = re.compile(r"[A-Za-z0-9._:-]+", re.ASCII)
_MARK = "# ggnet boot script: rewritten by GGnet whenever it differs"
_HEADER = re.compile(r"^# ggnet site (\S+) server (\S+) machine (\S+)$", re.ASCII | re.MULTILINE)
_SAN = re.compile(r"iscsi:([0-9.]+):[^:]*:([0-9]+):([0-9A-Fa-f]+):(\S+)", re.ASCII)
_PORTAL = re.compile(r"([0-9.]+):([1-9][0-9]{0,4})", re.ASCII)

# UEFI firmware stops at its menu after a boot option that ended well; after one that failed it goes on to the next.
_CONSTANT = f"""#!ipxe
{_MARK}
echo GGnet: looking for this machine's boot script
set card:int32 0
:card
isset ${{net${{card}}/mac}} || goto local
chain --autofree machines/${{net${{card}}/mac:hexhyp}}.ipxe && exit 1 ||
inc card
iseq ${{card}} {CARDS} || goto card
:local
echo GGnet: no boot script for this machine: going on with its local disk
exit 1
"""


@dataclass(frozen=True, slots=True)
class SanUri:
    """Where a disk is (RFC 4173, section 5): ``portal`` is ``ADDRESS:PORT``."""

    portal: str
    lun: int
    target: Iqn


@dataclass(frozen=True, slots=True)
class Script:
    """The parts of a machine's script. ``site`` and ``server`` are the mark: who wrote it. ``san`` is what boots, the first
    of ``luns`` disks of its target."""

    site: str
    server: str
    machine: str
    initiator: Iqn
    san: SanUri
    luns: int = 1
    chap: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """The header of a machine's script."""

    site: str
    server: str
    machine: str


def boot_script() -> str:
    """Stage one, the same for every machine: each card's own script, then the local disk."""
    return _CONSTANT


def machine_script(
    site: Site, machine: str, initiator: Iqn, portal: str, target: Iqn, luns: int = 1, *, chap: bool = False
) -> str:
    """Stage two. ``portal`` is ``ADDRESS:PORT``. ValueError for a value that must not reach a script.

    LUN 0 boots. The others are shown to what it boots as the BIOS drives 0x81 and on (UEFI: as further disks); they stay
    out of the boot firmware table, where a system would take each for a target of its own to log in to.

    TFTP gives its files to everyone: with ``chap`` the PC is sent on to where it is told its secret, before each attempt.
    """
    name, uri = Name.parse(machine), san_uri(portal, 0, target)
    hooks = "".join(
        f"sanhook --no-describe --drive {_FIRST + n:#x} {san_uri(portal, n, target)} ||\n" for n in range(1, luns)
    )
    unhooks = "".join(f"sanunhook --drive {_FIRST + n:#x} ||\n" for n in range(1, luns))
    asking = f"chain --autofree {secret_url(portal, machine)} || goto failed\n" if chap else ""
    failed = ":failed\n" if chap else ""
    local = f"echo GGnet: {name} gets no disk from {portal}: going on with its local disk"
    return f"""#!ipxe
{_MARK}
# ggnet site {_plain(site.site)} server {_plain(site.server)} machine {name}
set initiator-iqn {_plain(Iqn.parse(initiator))}
set attempt:int32 0
:again
inc attempt
echo GGnet: {name} boots from {target} at {portal}, attempt ${{attempt}} of {ATTEMPTS}
{asking}{hooks}sanboot {uri} ||
{failed}{unhooks}iseq ${{attempt}} {ATTEMPTS} && goto local ||
sleep 3
goto again
:local
{local}
exit 0
"""


def secret_url(portal: str, machine: str) -> str:
    """Where a PC asks for what it has to know to log in at ``portal``."""
    return f"http://{Ipv4.parse(portal.rpartition(':')[0])}:{SECRETS_PORT}/chap/{Name.parse(machine)}.ipxe"


def parse_mark(text: str) -> Mark | None:
    """Who wrote this script, and for which machine; None for a script of somebody else's."""
    match = _HEADER.search(text[:2000])
    return Mark(match[1], match[2], match[3]) if match else None


def parse_script(text: str) -> Script | None:
    """The parts of a machine's script; None unless it is exactly what ``machine_script`` gives for them."""
    mark = parse_mark(text)
    initiator = re.search(r"^set initiator-iqn (\S+)$", text, re.MULTILINE)
    uri = re.search(r"^sanboot (\S+) \|\|$", text, re.MULTILINE)
    if not mark or not initiator or not uri:
        return None
    try:
        san, luns, chap = parse_san_uri(uri[1]), 1 + text.count("\nsanhook "), "\n:failed\n" in text
        script = Script(mark.site, mark.server, mark.machine, Iqn.parse(initiator[1]), san, luns, chap)
        site = Site(site=script.site, server=script.server)
        again = machine_script(site, script.machine, script.initiator, san.portal, san.target, luns, chap=chap)
    except ValueError:
        return None
    return script if again == text else None


def is_boot_path(path: str) -> bool:
    """Whether we ever write there: the constant script, a card's script, a network boot program."""
    return path == BOOT_SCRIPT or path in PROGRAM_PATHS or parse_script_path(path) is not None


def owner(path: str, data: bytes, site: Site) -> tuple[bool, str | None]:
    """Whether a file is ours, and whose script it is.

    Ours are the fixed paths, which carry no mark, what carries this server's mark, and an emptied script, which
    holds nothing that anybody could lose.
    """
    if not is_boot_path(path):
        return False, None
    mark = parse_mark(data[:2000].decode("utf-8", "replace"))
    if mark and (mark.site, mark.server) == (site.site, site.server):
        return True, mark.machine
    return parse_script_path(path) is None or not data.strip(), None


def san_uri(portal: str, lun: int, target: Iqn) -> str:
    """``iscsi:ADDRESS::PORT:LUN:TARGET`` with the LUN in hexadecimal (RFC 4173, section 5). ValueError."""
    match = _PORTAL.fullmatch(portal)
    if not match or int(match[2]) > 65535:
        raise ValueError(f"{shown(portal)} is not a portal: write it like 10.77.0.1:3260")
    if not 0 <= lun < 1 << 14:
        raise ValueError(f"LUN {lun} is outside 0..16383")
    return f"iscsi:{Ipv4.parse(match[1])}::{match[2]}:{lun:x}:{_plain(Iqn.parse(target))}"


def parse_san_uri(text: str) -> SanUri:
    """ValueError."""
    match = _SAN.fullmatch(text)
    if not match:
        raise ValueError(f"{shown(text)} is not a SAN URI: iscsi:10.77.0.1::3260:0:iqn...")
    uri = SanUri(f"{match[1]}:{match[2]}", int(match[3], 16), Iqn.parse(match[4]))
    san_uri(uri.portal, uri.lun, uri.target)
    return uri


def _plain(value: str) -> str:
    if not _PLAIN.fullmatch(value):
        raise ValueError(f"{shown(value)} may not stand in a boot script: letters, digits and . _ : - only")
    return value
