"""The closed set of kinds, in the order in which they refer to each other."""

from manifests.image import Image
from manifests.machine import Machine
from manifests.network import Network
from manifests.session import Session

Object = Network | Machine | Image | Session

KINDS: dict[str, type[Network] | type[Machine] | type[Image] | type[Session]] = {
    "Network": Network,
    "Machine": Machine,
    "Image": Image,
    "Session": Session,
}
PLURALS = {"networks": "Network", "machines": "Machine", "images": "Image", "sessions": "Session"}
