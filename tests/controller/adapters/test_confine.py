"""A confined program reaches what it was given and nothing else, whichever layer is asked to hold it."""

import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from controller.adapters import confine
from controller.adapters.command import CommandMissing
from controller.adapters.confine import LAYERS, Limits, OverTime, Ran, Unconfined
from controller.adapters.confined import filter, kernel, landlock
from tests.controller.adapters.images.disks import children

ROOT = Path(__file__).parent.parent.parent.parent
IS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root has another user to become, and files to be kept from")
SMALL = Limits(seconds=20, cpu=10, memory=256 << 20, largest=1 << 20)

PTRACE = 101 if os.uname().machine == "x86_64" else 117
# Perl comes with every Debian, needs little to start, and says why a call failed. $given is the file it may write.
DEEDS = {
    "read": 'open(F, "<", "/etc/shadow") or die "$!\n"; print "done"',
    "write": 'open(F, ">", "$elsewhere/made") or die "$!\n"; print "done"',
    "connect": 'socket(S, 2, 1, 0) or die "$!\n";'
    ' connect(S, pack("S n C4 x8", 2, $port, 127, 0, 0, 1)) or die "$!\n"; print "done"',
    "fork": 'defined(my $pid = fork) or die "$!\n"; if ($pid) { waitpid $pid, 0; print "done" }',
    "exec": 'exec "/usr/bin/printf", "done" or die "$!\n"',
    "memory": '$much = "x" x (512 << 20); print "done"',
    "kill": 'kill("CONT", getppid) or die "$!\n"; print "done"',
    "grow": 'open(F, "+<", $given) or die "$!\n"; seek F, 2 << 20, 0; syswrite(F, "x") or die "$!\n"; print "done"',
    "trace": f'syscall({PTRACE}, 16, getppid, 0, 0) == 0 or die "$!\n"; print "done"',  # PTRACE_ATTACH
    # A user namespace has all powers.
    "unshare": f'syscall({kernel.number("unshare")}, 0x10000000) == 0 or die "$!\n"; print "done"',
}
# Which layers each hold it alone; what is in none of them is held by no layer but these.
HELD_BY = {
    "read": ("user", "landlock", "opened-files"),
    "write": ("landlock", "opened-files"),
    "connect": ("network", "system-calls"),
    "fork": ("system-calls",),
    "exec": ("landlock", "opened-files"),
    "memory": ("limits",),
    "kill": ("system-calls",),
    "grow": ("limits",),
}


class Bench:
    """A folder that anybody may write, a listener, a script and a file that are given."""

    def __init__(self, folder: Path) -> None:
        self.elsewhere = folder / "elsewhere"
        self.elsewhere.mkdir()
        for path in (folder, self.elsewhere):
            path.chmod(0o777)
        self.script = folder / "script"
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.given = os.open(folder / "given", os.O_RDWR | os.O_CREAT, 0o666)
        os.fchmod(self.given, 0o666)

    def write(self, deed: str) -> None:
        head = f'$elsewhere = "{self.elsewhere}"; $port = {self.listener.getsockname()[1]};'
        self.script.write_text(f'$| = 1; {head} $given = "/dev/fd/{self.given}"; {deed}\n')

    def run(self, deed: str, layers: Sequence[str] = LAYERS, limits: Limits = SMALL, **more: object) -> Ran:
        self.write(deed)
        script = os.open(self.script, os.O_RDONLY)
        try:
            files = {script: False, self.given: True}
            return confine.run(["perl", f"/dev/fd/{script}"], files, limits=limits, layers=layers, **more)  # type: ignore[arg-type]
        finally:
            os.close(script)


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Not below pytest's own folders: each run of it closes them to other users."""
    with tempfile.TemporaryDirectory(prefix="ggnet-confined-") as folder:
        made = Bench(Path(folder))
        yield made
        made.listener.close()
        os.close(made.given)


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] not in "ZX"


def with_layers(*layers: str) -> tuple[str, ...]:
    """``opened-files`` is a part of the filter."""
    return (*layers, "system-calls") if "opened-files" in layers else layers


def test_what_it_was_given_it_may_read_and_write(bench: Bench) -> None:
    ran = bench.run('open(F, "+<", $given) or die "$!\n"; syswrite(F, "content"); print "done"')
    assert (ran.result.out, ran.result.err, ran.result.code) == (b"done", b"", 0)
    assert os.pread(bench.given, 100, 0) == b"content"
    assert os.lseek(bench.given, 0, os.SEEK_CUR) == 0, "its position is its own"


def test_what_it_was_given_to_read_it_may_not_write(bench: Bench) -> None:
    bench.write('open(F, "+<", $given) or die "$!\n"; print "done"')
    with bench.script.open("rb") as script:
        ran = confine.run(["perl", f"/dev/fd/{script.fileno()}"], {script.fileno(): False, bench.given: False}, limits=SMALL)
    assert (ran.result.out, ran.result.err) == (b"", b"Permission denied\n")


@pytest.mark.parametrize("deed", DEEDS)
def test_a_deed_is_refused(bench: Bench, deed: str) -> None:
    ran = bench.run(DEEDS[deed])
    assert ran.result.code, ran.result.out
    assert b"done" not in ran.result.out
    assert not list(bench.elsewhere.iterdir())


@IS_ROOT
@pytest.mark.parametrize(("deed", "layer"), [(deed, layer) for deed, layers in HELD_BY.items() for layer in layers])
def test_one_layer_alone_holds_it(bench: Bench, deed: str, layer: str) -> None:
    if layer == "landlock" and not landlock.version():
        pytest.skip("this kernel has no Landlock")
    keep = () if {layer} & {"user", "landlock", "opened-files"} else ("user",)
    ran = bench.run(DEEDS[deed], with_layers(layer, *keep))
    assert layer in ran.layers
    assert b"done" not in ran.result.out


@IS_ROOT
@pytest.mark.parametrize("deed", [deed for deed in HELD_BY if deed != "read"])
def test_and_without_those_layers_it_is_done(bench: Bench, deed: str) -> None:
    away = {*HELD_BY[deed], "landlock", "opened-files", "network"}  # Landlock is of help to other layers' deeds too
    ran = bench.run(DEEDS[deed], [layer for layer in LAYERS if layer not in away])
    assert ran.result.out == b"done", ran.result.err


@IS_ROOT
def test_and_unconfined_root_would_read_it_all(bench: Bench) -> None:
    bench.write(DEEDS["read"])
    assert subprocess.run(["perl", bench.script], capture_output=True, timeout=20).stdout == b"done"


@IS_ROOT
def test_as_root_with_nothing_between_it_and_the_files_it_is_not_run(bench: Bench) -> None:
    with pytest.raises(Unconfined, match="neither another user, nor Landlock"):
        bench.run('open(F, "+<", $given); syswrite(F, "ran")', ("limits", "capabilities", "network", "system-calls"))
    assert os.pread(bench.given, 10, 0) == b""


@IS_ROOT
@pytest.mark.parametrize("layers", [LAYERS, tuple(layer for layer in LAYERS if layer != "user")])
def test_it_has_no_capability_and_gets_none(bench: Bench, layers: Sequence[str]) -> None:
    class Seen(BaseException):
        pass

    deed = "print join ' ', $<, $>, $(; sleep 60"
    state: dict[str, str] = {}

    def look(_: str) -> None:
        for status in Path("/proc").glob("[0-9]*/status"):
            text = status.read_text()
            if "Name:\tperl" in text and "Seccomp:\t2" in text:
                state.update(
                    (line.partition(":\t")[0], line.partition(":\t")[2]) for line in text.splitlines() if ":\t" in line
                )
                raise Seen

    with pytest.raises(Seen):
        bench.run(deed, layers, Limits(seconds=20), check=look)
    assert {state[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert state["NoNewPrivs"] == "1"
    assert (state["Uid"].split()[0] != "0") == ("user" in layers)
    assert state["Groups"].strip() == "" or "user" not in layers


def test_a_job_that_is_given_up_leaves_no_program_behind(bench: Bench) -> None:
    class GivenUp(BaseException):
        pass

    def check(_: str) -> None:
        if os.pread(bench.given, 20, 0):
            raise GivenUp

    with pytest.raises(GivenUp):
        bench.run('open(F, "+<", $given); syswrite(F, $$); sleep 60', check=check)
    assert not alive(int(os.pread(bench.given, 20, 0)))


def test_one_that_takes_too_long_is_ended(bench: Bench) -> None:
    with pytest.raises(OverTime, match=r"perl did not end within 2 s"):
        bench.run('open(F, "+<", $given); syswrite(F, $$); sleep 60', limits=Limits(seconds=2, largest=99))
    assert not alive(int(os.pread(bench.given, 20, 0)))


def test_one_that_closes_its_streams_is_ended_too(bench: Bench) -> None:
    with pytest.raises(OverTime):
        bench.run("close STDOUT; close STDERR; sleep 60", limits=Limits(seconds=0.5))


def test_one_that_computes_without_end_is_ended(bench: Bench) -> None:
    ran = bench.run("1 while 1", limits=Limits(seconds=20, cpu=1))
    assert ran.result.code in (128 + signal.SIGKILL, 128 + signal.SIGXCPU)


def test_when_the_daemon_is_killed_the_program_dies_with_it(bench: Bench) -> None:
    bench.write('open(F, "+<", $given); syswrite(F, $$); sleep 60')
    daemon = (
        "import os; from controller.adapters import confine;"
        f"script = os.open({str(bench.script)!r}, os.O_RDONLY); given = {bench.given};"
        "confine.run(['perl', f'/dev/fd/{script}'], {script: False, given: True}, limits=confine.Limits(largest=99))"
    )
    process = subprocess.Popen([sys.executable, "-c", daemon], cwd=ROOT, pass_fds=(bench.given,))
    try:
        deadline = time.monotonic() + 20
        while not os.pread(bench.given, 20, 0) and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    pid = int(os.pread(bench.given, 20, 0))
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(pid)


def test_what_it_says_is_bounded(bench: Bench) -> None:
    ran = bench.run('print STDERR "x" x 100000 for 1..50; print "done"')
    assert len(ran.result.err) <= (1 << 20) + (1 << 16)
    assert ran.result.out == b"done"


def test_no_descriptor_and_no_child_is_left(bench: Bench) -> None:
    before, begun = sorted(Path("/proc/self/fd").iterdir()), children()
    bench.run("print 1")
    with pytest.raises(OverTime):
        bench.run("sleep 60", limits=Limits(seconds=0.3))
    assert sorted(Path("/proc/self/fd").iterdir()) == before
    assert children() == begun


def test_a_program_that_is_not_there_is_missing() -> None:
    with pytest.raises(CommandMissing, match="ggnet-no-such-program is not there"):
        confine.run(["ggnet-no-such-program"], {}, limits=SMALL)


@IS_ROOT
@pytest.mark.parametrize(("powers", "user"), [("sys_admin,+setuid,+setgid", True), ("sys_admin", False)])
def test_it_holds_with_the_powers_that_the_unit_gives(bench: Bench, powers: str, user: bool) -> None:
    """Root without a root's powers, no new ones, and no memory that may be written and run (prctl 65, PR_SET_MDWE)."""
    bench.write("print 'done'")
    script = (
        "import ctypes, os; ctypes.CDLL(None).prctl(65, 1, 0, 0, 0); from controller.adapters import confine;"
        f"script = os.open({str(bench.script)!r}, os.O_RDONLY);"
        "ran = confine.run(['perl', f'/dev/fd/{script}'], {script: False}, limits=confine.Limits());"
        "print(ran.result.text, *ran.layers)"
    )
    confined = ["setpriv", "--bounding-set", f"-all,+{powers}", "--inh-caps", "-all", "--no-new-privs"]
    said = subprocess.run([*confined, sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=30)
    words = said.stdout.split()
    assert words[0] == "done", said.stderr
    assert {"capabilities", "limits", "system-calls", "opened-files"} <= {*words}
    assert ("user" in words) == user


# Everything is allowed but seccomp(2), which is refused: load the number; is it that?; EPERM; allow.
RULES = ((0x20, 0, 0, 0), (0x15, 0, 1, kernel.number("seccomp") or 0), (6, 0, 0, 0x50001), (6, 0, 0, 0x7FFF0000))
NO_SECCOMP = b"".join(struct.pack("=HBBI", *rule) for rule in RULES)


@pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock, and root would not be confined")
def test_where_the_launcher_may_not_be_asked_the_user_stays_and_the_rest_holds(bench: Bench) -> None:
    bench.write("print 'done'")
    bench.script.chmod(0o400)
    script = (
        "import ctypes, os, struct; from controller.adapters import confine;"
        "from controller.adapters.confined import kernel;"
        f"code = ctypes.create_string_buffer({NO_SECCOMP!r}); kernel.prctl(38, 1);"
        "kernel.prctl(22, 2, ctypes.create_string_buffer(struct.pack('@HP', 4, ctypes.addressof(code))));"
        f"script = os.open({str(bench.script)!r}, os.O_RDONLY);"
        "ran = confine.run(['perl', f'/dev/fd/{script}'], {script: False}, limits=confine.Limits());"
        "print(ran.result.text, *ran.layers)"
    )
    said = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert said.stdout.split()[0] == "done", said.stderr
    assert {"landlock", "system-calls", "capabilities"} <= {*said.stdout.split()}
    assert not {"user", "opened-files"} & {*said.stdout.split()}


def test_the_filter_names_calls_by_the_numbers_of_this_kernel() -> None:
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if os.uname().machine != "x86_64" or not header.exists():
        pytest.skip("no list of calls to compare with (Debian: linux-libc-dev)")
    known = dict(line.split()[1:3] for line in header.read_text().splitlines() if line.startswith("#define __NR_"))
    names = [word for word in kernel._TABLE.split() if word.strip("-0123456789")]
    assert {name: kernel.number(name) for name in names} == {name: int(known[f"__NR_{name}"]) for name in names}
    assert {*filter._ALLOWED.split()} <= {*names}
