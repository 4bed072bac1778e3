"""What every TFTP tree owes us, asked of the one in memory and of files that a real in.tftpd serves."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from controller.core.names import BOOT_SCRIPT, Site, script
from controller.core.observed import BootFileState
from controller.core.render import ipxe
from controller.core.steps import DeleteBootFile, WriteBootFile
from controller.ports.host import EffectFailed, EffectRefused, TftpState
from tests.contracts.tftp_rigs import PROGRAMS, SITE, MemoryRig, Rig, TreeRig

PC07 = script("52-54-00-00-00-07")
PC08 = script("52-54-00-00-00-08")
PATHS_OUTSIDE = [
    "../etc/passwd",
    "ggnet/../../etc/passwd",
    "/etc/passwd",
    "ggnet/machines/../boot.ipxe",
    "ggnet/machines/52-54-00-00-00-0g.ipxe",
    "ggnet/machines/52-54-00-00-00-07.ipxe\n",
    "ggnet/machines/52-54-00-00-00-07.ipxe/x",
    "ggnet//boot.ipxe",
    "ggnet/other.efi",
    "boot.ipxe",
    "ggnet",
    "",
    "ggnet/machines/５2-54-00-00-00-07.ipxe",
    "ggnet/\0",
]


@pytest.fixture(params=[MemoryRig, TreeRig], ids=["memory", "tree"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    if request.param is TreeRig:
        assert os.geteuid() == 0, "a real in.tftpd on port 69 needs root"
    rig: Rig = request.param(tmp_path)
    yield rig
    rig.close()


def text(machine: str, site: Site = SITE) -> str:
    return ipxe.machine_script(site, machine, site.initiator(machine), "10.77.0.1:3260", site.target(machine))


def write(rig: Rig, path: str, content: str | None = None, nbp: str | None = None) -> None:
    anyio.run(rig.tftp.write, WriteBootFile(path, content, nbp))


def delete(rig: Rig, path: str) -> None:
    anyio.run(rig.tftp.delete, DeleteBootFile(path))


def look(rig: Rig, *paths: str) -> TftpState:
    return anyio.run(rig.tftp.observe, paths or None)


def sha(data: str | bytes) -> str:
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def test_an_empty_tree_is_read_whole_and_the_programs_at_hand_are_told(rig: Rig) -> None:
    assert look(rig) == TftpState({}, {name: sha(data) for name, data in PROGRAMS.items()})


def test_a_written_script_is_seen_as_ours_and_served(rig: Rig) -> None:
    write(rig, PC07, text("pc07"))
    assert look(rig).files == {PC07: BootFileState(sha(text("pc07")), ours=True, machine="pc07")}
    assert rig.get(PC07) == text("pc07").encode()
    assert rig.get(PC08) is None


def test_the_constant_script_and_the_programs_are_ours_by_their_path_and_served(rig: Rig) -> None:
    write(rig, BOOT_SCRIPT, ipxe.boot_script())
    write(rig, "ggnet/ipxe.efi", nbp="ipxe.efi")
    seen = look(rig).files
    assert seen[BOOT_SCRIPT] == BootFileState(sha(ipxe.boot_script()), ours=True)
    assert seen["ggnet/ipxe.efi"] == BootFileState(look(rig).nbps["ipxe.efi"], ours=True)
    assert rig.get("ggnet/ipxe.efi") == PROGRAMS["ipxe.efi"]


def test_only_the_paths_that_are_asked_for_are_looked_at(rig: Rig) -> None:
    write(rig, PC07, text("pc07"))
    write(rig, PC08, text("pc08"))
    assert set(look(rig, PC08, BOOT_SCRIPT, "ggnet/../x").files) == {PC08}


def test_a_write_over_anything_gives_the_wanted_bytes(rig: Rig) -> None:
    rig.put(PC07, b"something of somebody's, and longer than what is to come" * 100)
    write(rig, PC07, text("pc07"))
    assert rig.get(PC07) == text("pc07").encode()
    assert rig.paths() == [PC07]


def test_a_deleted_script_is_gone_and_deleting_it_again_is_fine(rig: Rig) -> None:
    delete(rig, PC07)
    write(rig, PC07, text("pc07"))
    write(rig, PC08, text("pc08"))
    delete(rig, PC07)
    delete(rig, PC07)
    assert rig.paths() == [PC08]
    assert rig.get(PC07) is None


@pytest.mark.parametrize("damage", ["edited", "emptied", "deleted"])
def test_damage_is_seen_as_ours_and_repaired(rig: Rig, damage: str) -> None:
    write(rig, PC07, text("pc07"))
    match damage:
        case "edited":
            rig.put(PC07, text("pc07").replace("sleep 3", "sleep 9").encode())
        case "emptied":
            rig.put(PC07, b"")
        case _:
            rig.drop(PC07)
    seen = look(rig).files
    assert seen.get(PC07) is None or (seen[PC07].ours and seen[PC07].sha256 != sha(text("pc07")))
    write(rig, PC07, text("pc07"))
    assert rig.get(PC07) == text("pc07").encode()


@pytest.mark.parametrize("content", [b"#!ipxe\nshell\n", text("pc07", Site(site="other")).encode(), b"\xff\xfe\0"])
def test_a_file_without_our_mark_is_foreign_and_never_deleted(rig: Rig, content: bytes) -> None:
    rig.put(PC07, content)
    rig.put("ggnet/notes.txt", content)
    state = look(rig)
    assert set(state.foreign) == {PC07, "ggnet/notes.txt"}
    assert not state.files[PC07].ours
    with pytest.raises(EffectRefused, match="mark"):
        delete(rig, PC07)
    assert rig.get(PC07) == rig.get("ggnet/notes.txt") == content


@pytest.mark.parametrize("path", PATHS_OUTSIDE)
def test_no_path_but_ours_is_written_or_deleted(rig: Rig, path: str) -> None:
    with pytest.raises(EffectRefused, match="path"):
        write(rig, path, text("pc07"))
    with pytest.raises(EffectRefused, match="path"):
        delete(rig, path)
    assert rig.paths() == []


def test_a_root_that_is_missing_is_unreadable_and_nothing_is_written(rig: Rig) -> None:
    rig.break_root()
    assert "missing" in look(rig).unreadable["tftp"]
    with pytest.raises(EffectRefused, match="missing"):
        write(rig, PC07, text("pc07"))
    with pytest.raises(EffectRefused, match="missing"):
        delete(rig, PC07)


def test_a_program_that_is_not_at_hand_is_refused_by_name(rig: Rig) -> None:
    for name in ("snponly.efi", "../../etc/passwd"):
        with pytest.raises(EffectRefused, match=r"snponly\.efi|passwd"):
            write(rig, "ggnet/snponly.efi", nbp=name)


def test_a_full_disk_fails_and_leaves_nothing_half_written(rig: Rig) -> None:
    rig.fill_disk()
    with pytest.raises(EffectFailed, match="No space left"):
        write(rig, "ggnet/ipxe.efi", nbp="ipxe.efi")
    assert rig.paths() == []
