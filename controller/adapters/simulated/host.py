"""A whole boot server in memory, on which the real adapter of the kernel's target works."""

from controller.adapters.lio import KernelLio
from controller.adapters.simulated.configfs import FakeConfigFs
from controller.adapters.simulated.pool import MemoryPool
from controller.adapters.simulated.services import MemoryDhcp, MemoryTftp
from controller.core.names import Site
from controller.ports.host import Dhcp, Lio, Pool, Tftp

_PROGRAMS = {"undionly.kpxe": b"simulated", "ipxe.efi": b"simulated"}


def simulated(site: Site, pool_dir: str) -> tuple[Lio, Pool, Tftp, Dhcp]:
    """Every image's source is there, and dhcpd runs; nobody ever logs in."""
    pool = MemoryPool(root=pool_dir, blank=1 << 20)
    kernel = FakeConfigFs(create_file=lambda path: None)
    dhcp = MemoryDhcp(site)
    dhcp.start()
    return KernelLio(kernel, site, sizes=pool.size_of), pool, MemoryTftp(site, nbps=_PROGRAMS), dhcp
