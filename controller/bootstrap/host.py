"""What a controller has in its hands: the boot server, or one in memory, and where manifests come from."""

from pathlib import Path
from typing import TYPE_CHECKING

from controller.adapters.chap import SecretFiles, installation_key
from controller.adapters.chap_door import ChapDoor
from controller.adapters.configfs import KernelConfigFs
from controller.adapters.dhcpd import IscDhcpd
from controller.adapters.folder import FolderSource
from controller.adapters.git import GitAddress, GitSource, is_repository
from controller.adapters.hostwatch import HostWatch
from controller.adapters.lio import KernelLio
from controller.adapters.pool import PoolDir
from controller.adapters.tftp import TftpTree
from controller.bootstrap.here import clock
from controller.ports.sources import Source
from controller.settings import Settings
from controller.shell.hints import Places
from controller.shell.observe import Host

if TYPE_CHECKING:
    from controller.adapters.downloads import Downloads


def host(settings: Settings, simulate: bool) -> Host:
    """What a pass looks at and changes."""
    if simulate:
        from controller.adapters.simulated.host import simulated

        lio, pool, tftp, dhcp, chap = simulated(settings.names, str(settings.pool))
        return Host(lio, pool, tftp, dhcp, pool_dir=str(settings.pool), simulated=True, chap=chap)
    files_of_secrets = SecretFiles(
        installation_key(settings.state_dir), settings.secrets_dir, settings.credentials_directory
    )
    kernel = KernelLio(KernelConfigFs(settings.configfs), settings.names, secrets=files_of_secrets)
    return Host(
        lio=kernel,
        pool=PoolDir(
            settings.pool,
            settings.imports,
            uploads=settings.uploads,
            downloads=lambda: _downloads(settings),
            driver=settings.pool_driver,
            clock=clock(),
        ),
        tftp=TftpTree(settings.tftp_root, settings.nbp_dir, settings.names),
        dhcp=IscDhcpd(
            settings.names,
            clock(),
            include=settings.dhcpd_include,
            conf=settings.dhcpd_conf,
            restart=settings.dhcpd_restart,
            pidfile=settings.dhcpd_pidfile,
            state_dir=settings.state_dir,
        ),
        pool_dir=str(settings.pool),
        chap=ChapDoor(files_of_secrets, kernel, settings.names, clock()),
    )


def _downloads(settings: Settings) -> "Downloads":
    """Imported when something is to be fetched: most controllers never do, and its HTTP costs memory."""
    from controller.adapters.download_line import Line, authorities
    from controller.adapters.downloads import Downloads
    from controller.adapters.outbound import Outbound
    from controller.adapters.resolver import SystemResolver

    outbound = Outbound(
        SystemResolver(),
        settings.import_networks,
        "GGNET_IMPORT_ALLOW",
        connect_seconds=10.0,
        authorities=lambda: authorities(settings.import_ca_file),
    )
    return Downloads(settings.pool, Line(outbound), most=int(settings.upload_quota))


def places(settings: Settings) -> Places:
    """Which change of the boot server is about what."""
    return Places(
        settings.configfs,
        settings.tftp_root,
        settings.dhcpd_include.parent,
        settings.dhcpd_include.name,
        settings.secrets_dir,
    )


def watch(settings: Settings, simulate: bool) -> HostWatch:
    """Where a change made by hand is noticed at once."""
    if simulate:
        return HostWatch(())
    include = settings.dhcpd_include.parent
    return HostWatch((settings.configfs / "target", settings.tftp_root / "ggnet", include, settings.secrets_dir))


def sources(settings: Settings) -> list[Source]:
    """Where manifests come from: nowhere, a folder, or a repository."""
    if settings.manifests is None:
        return []
    folder = Path(settings.manifests)
    if folder.is_dir() and not is_repository(folder):
        return [FolderSource(folder.resolve(), settings.source_seconds)]
    return [GitSource(GitAddress.parse(settings.manifests), settings.state_dir, settings.source_seconds)]
