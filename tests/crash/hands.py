"""What other people's hands, and a power cut, can do to a boot server: one kind of damage each."""

from collections.abc import Callable, Mapping
from contextlib import suppress

from tests.crash.sites import PORTAL, Pc
from tests.crash.world import World

Damage = Callable[[World, Pc], None]


def _tpg(pc: Pc) -> str:
    return f"iscsi/{pc.iqn}/tpgt_1"


def disable(world: World, pc: Pc) -> None:
    world.kernel.write(f"{_tpg(pc)}/enable", "0")


def unmap(world: World, pc: Pc) -> None:
    world.kernel.unlink(f"{pc.acl}/lun_0/ggnet-{pc.name}-os")


def unlink(world: World, pc: Pc) -> None:
    world.kernel.unlink(f"{_tpg(pc)}/lun/lun_0/ggnet-{pc.name}-os")


def let_another_in(world: World, pc: Pc) -> None:
    world.kernel.mkdir(f"{_tpg(pc)}/acls/iqn.2020-01.org.elsewhere:other")


def take_the_portal(world: World, pc: Pc) -> None:
    world.kernel.rmdir(f"{_tpg(pc)}/np/{PORTAL}")


def loosen(world: World, pc: Pc) -> None:
    world.kernel.write(f"{_tpg(pc)}/attrib/demo_mode_discovery", "1")


def remove_script(world: World, pc: Pc) -> None:
    world.tftp.files.pop(pc.script, None)


def empty_script(world: World, pc: Pc) -> None:
    if pc.script in world.tftp.files:
        world.tftp.files[pc.script] = b""


def remove_constant(world: World, pc: Pc) -> None:
    world.tftp.files.pop("ggnet/boot.ipxe", None)


def kill_dhcpd(world: World, pc: Pc) -> None:
    world.dhcp.kill()


def edit_include(world: World, pc: Pc) -> None:
    world.dhcp.text = (world.dhcp.text or "") + "# by hand\n"


def remove_include(world: World, pc: Pc) -> None:
    world.dhcp.text = None
    world.dhcp.start()


def lose_overlay(world: World, pc: Pc) -> None:
    for name in [name for name in world.pool.overlays if name.startswith(f"{pc.name}.")]:
        del world.pool.overlays[name]


def power_cut(world: World, pc: Pc) -> None:
    world.kernel.clear()
    world.move_in_again()
    world.dhcp.kill()


DAMAGES: Mapping[str, Damage] = {
    damage.__name__: damage
    for damage in (
        disable,
        unmap,
        unlink,
        let_another_in,
        take_the_portal,
        loosen,
        remove_script,
        empty_script,
        remove_constant,
        kill_dhcpd,
        edit_include,
        remove_include,
        lose_overlay,
        power_cut,
    )
}


def damage(world: World, pc: Pc, kind: str) -> None:
    """Where there is nothing to be damaged, nothing is."""
    with world.by_hand(), suppress(OSError):
        DAMAGES[kind](world, pc)
