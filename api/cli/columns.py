"""What ``get`` shows of each kind: column -> how it is read from the object. The last ones only with ``-o wide``."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from api.cli import output

Item = Mapping[str, Any]
Column = tuple[str, Callable[[Item], str]]


def spec(field: str) -> Callable[[Item], str]:
    return lambda item: _text(item["spec"].get(field))


def status(field: str) -> Callable[[Item], str]:
    return lambda item: _text(item.get("status", {}).get(field))


def name(item: Item) -> str:
    return str(item["metadata"]["name"])


def phase(item: Item) -> str:
    return "Deleting" if "deletedAt" in item["metadata"] else _text(item.get("status", {}).get("phase", "Pending"))


def ready(item: Item) -> str:
    """True, or the reason why not."""
    found = next((one for one in item.get("status", {}).get("conditions", []) if one["type"] == "Ready"), None)
    if found is None:
        return "Unknown"
    return "True" if found["status"] == "True" else str(found["reason"] or found["status"])


def labels(item: Item) -> str:
    return output.labels(item["metadata"])


def images(item: Item) -> str:
    """Of a session with several disks ``os=win11@stable,games=games``."""
    disks = item["spec"].get("disks")
    return ",".join(f"{disk['name']}={disk['image']}" for disk in disks) if disks else spec("image")(item)


def version(item: Item) -> str:
    disks = item.get("status", {}).get("disks")
    if disks:
        return ",".join(f"v{disk['version']}" if "version" in disk else "-" for disk in disks)
    found = item.get("status", {}).get("imageVersion", item.get("status", {}).get("version"))
    return f"v{found}" if found is not None else ""


def overlays(item: Item) -> str:
    disks = item.get("status", {}).get("disks")
    return ",".join(disk.get("overlay", "-") for disk in disks) if disks else status("overlay")(item)


def size(item: Item) -> str:
    found = item.get("status", {}).get("size")
    return "" if found is None else f"{found / (1 << 30):.1f}GiB" if found >= 1 << 30 else f"{found / (1 << 20):.1f}MiB"


def dynamic(item: Item) -> str:
    found = item["spec"].get("range")
    return f"{found['start']}-{found['end']}" if found else ""


def address(item: Item) -> str:
    return _text(item["spec"].get("address") or item.get("status", {}).get("address"))


def source(item: Item) -> str:
    found = item["spec"]["source"]
    return _text(found.get("path") or found.get("url") or found.get("upload"))


COLUMNS: Mapping[str, tuple[tuple[Column, ...], tuple[Column, ...]]] = {
    "networks": (
        (("NAME", name), ("CIDR", spec("cidr")), ("SERVER", spec("serverAddress")), ("RANGE", dynamic), ("READY", ready)),
        (("DHCP", spec("dhcp")), ("GATEWAY", spec("gateway")), ("LABELS", labels)),
    ),
    "machines": (
        (("NAME", name), ("SESSION", status("session")), ("PHASE", phase), ("ADDRESS", address), ("MACS", spec("macs"))),
        (("READY", ready), ("HOSTNAME", spec("hostname")), ("FIRMWARE", spec("firmware")), ("LABELS", labels)),
    ),
    "images": (
        (("NAME", name), ("VERSION", version), ("SIZE", size), ("PHASE", phase), ("READY", ready)),
        (("SOURCE", source), ("OS", spec("os")), ("SHA256", status("sha256")), ("LABELS", labels)),
    ),
    "sessions": (
        (
            ("NAME", name),
            ("MACHINE", spec("machine")),
            ("IMAGE", images),
            ("VERSION", version),
            ("PHASE", phase),
            ("READY", ready),
            ("CONNECTION", status("connection")),
        ),
        (
            ("TARGET", status("target")),
            ("OVERLAY", overlays),
            ("PERSISTENCE", spec("persistence")),
            ("LABELS", labels),
        ),
    ),
}


def headers(plural: str, *, wide: bool) -> list[str]:
    first, more = COLUMNS[plural]
    return [title for title, _ in first] + ["AGE"] + ([title for title, _ in more] if wide else [])


def row(plural: str, item: Item, now: datetime, *, wide: bool) -> list[str]:
    first, more = COLUMNS[plural]
    cells = [read(item) for _, read in first] + [output.age(item["metadata"].get("createdAt"), now)]
    return cells + ([read(item) for _, read in more] if wide else [])


def _text(value: Any) -> str:
    if value is None:
        return ""
    return ",".join(str(one) for one in value) if isinstance(value, list) else str(value)
