"""A whole boot server in memory, on which the real adapter of the kernel's target works."""

from collections.abc import Callable, Collection, Mapping, Sequence

import anyio

from controller.adapters.chap import Secret, SecretFiles
from controller.adapters.lio import KernelLio
from controller.adapters.simulated.configfs import FakeConfigFs
from controller.adapters.simulated.pool import MemoryPool
from controller.adapters.simulated.services import MemoryDhcp, MemoryTftp
from controller.core.desired import Client
from controller.core.names import Site
from controller.core.observed import CredentialState
from controller.ports.host import Chap, ChapState, Dhcp, Lio, Pool, Tftp

_PROGRAMS = {"undionly.kpxe": b"simulated", "ipxe.efi": b"simulated"}


class MemorySecrets:
    """Every secret is there, and none is one; no door is opened."""

    def read(self, credential: str) -> Secret:
        return Secret(credential, "simulated-only")

    def digest(self, values: Sequence[str]) -> str:
        return SecretFiles(b"simulated").digest(values)

    async def observe(self, credentials: Collection[str]) -> ChapState:
        return ChapState({name: CredentialState(self.digest(self.read(name).values)) for name in sorted(credentials)})

    def admit(self, clients: Mapping[str, Client]) -> None:
        """Nobody comes."""

    async def run(self, changed: Callable[[], None]) -> None:
        await anyio.sleep_forever()


def simulated(site: Site, pool_dir: str) -> tuple[Lio, Pool, Tftp, Dhcp, Chap]:
    """Every image's source is there, and dhcpd runs; nobody ever logs in."""
    pool = MemoryPool(root=pool_dir, blank=1 << 20)
    kernel = FakeConfigFs(create_file=lambda path: None, is_device=pool.serves)
    pool.opened = kernel.opens
    dhcp = MemoryDhcp(site)
    dhcp.start()
    secrets = MemorySecrets()
    lio = KernelLio(kernel, site, sizes=pool.size_of, secrets=secrets)
    return lio, pool, MemoryTftp(site, nbps=_PROGRAMS), dhcp, secrets
