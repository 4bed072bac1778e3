"""Short spellings of what people ask for: a network, images, and machines that run them or do not."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controller.core.names import Site
from manifests.kinds import KINDS, Object

SITE = Site("iqn.2026-01.internal.ggnet", "lab", "s1")
PORTAL = "10.77.0.1:3260"
POOL = "/pool"
SIZE = 4096
SOURCE = "git:site"


@dataclass(frozen=True)
class Pc:
    """One machine with its session; ``number`` gives it its name and address, ``card`` another MAC than its own.

    With ``second`` it has another disk, ``games`` of the image ``other``. ``machine`` and ``session`` are the annotations of
    the two, without ``ggnet/``; ``version`` is what must be served.
    """

    number: int
    image: str = "demo"
    version: int = 1
    running: bool = True
    persistence: str = "ephemeral"
    second: bool = False
    card: int = 0
    ttl: str | None = None
    machine: tuple[tuple[str, str], ...] = ()
    session: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        return f"pc{self.number}"

    @property
    def mac(self) -> str:
        number = self.card or self.number
        return f"52:54:00:00:{number >> 8:02x}:{number & 255:02x}"

    @property
    def disks(self) -> tuple[tuple[str, str, int], ...]:
        """Name, image and version, by LUN."""
        return ("os", self.image, self.version), *((("games", "other", 1),) if self.second else ())

    @property
    def script(self) -> str:
        return f"ggnet/machines/{self.mac.replace(':', '-')}.ipxe"

    @property
    def iqn(self) -> str:
        return SITE.target(self.name)

    @property
    def acl(self) -> str:
        return f"iscsi/{self.iqn}/tpgt_1/acls/{SITE.initiator(self.name)}"

    @property
    def objects(self) -> tuple[Object, Object]:
        state = "running" if self.running else "stopped"
        spec: dict[str, object] = {"machine": self.name, "state": state, "persistence": self.persistence}
        if self.second:
            spec["disks"] = [{"name": "os", "image": self.image}, {"name": "games", "image": "other"}]
        else:
            spec["image"] = self.image
        address = f"10.77.{self.number >> 7}.{50 + (self.number & 127)}"
        return (
            thing("Machine", self.name, self.machine, macs=[self.mac], address=address, network="main"),
            thing("Session", self.name, self.session, **spec, **({"ttl": self.ttl} if self.ttl else {})),
        )


def thing(kind: str, name: str, annotations: Iterable[tuple[str, str]] = (), **spec: object) -> Object:
    metadata: Mapping[str, object] = {"name": name, "annotations": {f"ggnet/{key}": value for key, value in annotations}}
    return KINDS[kind].model_validate({"kind": kind, "metadata": metadata, "spec": spec})


def site(*pcs: Pc, images: Iterable[str] = ("demo", "other")) -> list[Object]:
    """A whole set: one network that holds everybody, these images, these machines."""
    network = thing("Network", "main", cidr="10.77.0.0/16", serverAddress="10.77.0.1")
    return [
        network,
        *(thing("Image", name, source={"path": f"{name}.raw"}) for name in images),
        *(one for pc in pcs for one in pc.objects),
    ]
