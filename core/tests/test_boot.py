"""`etherloom boot` with a QEMU that is a script: what is asked of it, and what becomes of it."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from etherloom.errors import ConfigError, HostError
from etherloom.guest.qemu import Kernel, Machine, Qemu

# Core's tests have no plugin, so this program has a NIC model and two buses of its own; QEMU reaches one of them.
PROGRAM = """
import attrs
from etherloom.cli import main
from etherloom.config.options import option
from etherloom.device import NicModel
from etherloom.device.pci import Bar, PciIdentity
from etherloom.kinds import GuestBusKind, NicModelKind
from etherloom.plugins.registry import Registry

@attrs.frozen(kw_only=True)
class NicOptions:
    netdev: str | None = option(default=None, help="peer")

@attrs.frozen(kw_only=True)
class BusOptions:
    slot: int = option(help="where")

class Port:
    info = "here"
    def close(self):
        print("the bus is closed", flush=True)

class Nic(NicModel):
    identity = PciIdentity(vendor=1, device=2, class_code=0x020000)
    bars = (Bar(256),)
    def __init__(self, name, context):
        super().__init__(name, context, mac=bytes(6))
    def receive(self, frame):
        return True
    def reset(self):
        pass

def bus(kind, **more):
    return GuestBusKind(kind=kind, options=BusOptions, attach=lambda *_: Port(), summary="bus", **more)

def init(options, name, peer, context):
    return Nic(name, context)

ROWS = [NicModelKind(kind="nic", options=NicOptions, init=init, summary="NIC")]
BUSES = [bus("far"), bus("near", qemu_device=lambda options: {"driver": "near", "slot": options.slot})]
Registry.discover = classmethod(lambda cls: Registry(nic_models=ROWS, guest_buses=BUSES))
main()
"""


def script(path: Path, text: str) -> Path:
    """An executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def fake_qemu(path: Path, version: str = "11.1.3", behaviour: str = "") -> Path:
    """A QEMU that knows its version and, beyond that, does `behaviour`."""
    says = f"[ \"$1\" = --version ] && echo 'QEMU emulator version {version} (Debian)' && exit"
    return script(path, f"{says}\n{behaviour}")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a cached guest; only `bin` in it is searched for QEMU."""
    (tmp_path / "cache/guest/trixie").mkdir(parents=True)
    for name in ("kernel", "initrd"):
        (tmp_path / "cache/guest/trixie" / name).touch()
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("ETHERLOOM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "lab.toml").write_text('[nic.n0]\nmodel = "nic"\nbus = "near"\nslot = 7\n')
    return tmp_path


def boot(world: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, "boot", *arguments]
    return subprocess.run(command, cwd=world, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)


def test_print_shows_the_command_line_and_runs_nothing(world: Path) -> None:
    qemu = fake_qemu(world / "bin/qemu-system-x86_64", behaviour="touch ran")
    done = boot(world, "lab.toml", "--print", "--append", "ip=10.0.0.2/24", "--memory", "1G")
    guest = world / "cache/guest/trixie"
    expected = [
        *(str(qemu), "-nodefaults", "-no-user-config", "-display", "none"),
        *("-machine", "pc,memory-backend=ram", "-accel", "tcg", "-m", "1G"),
        *("-object", "memory-backend-memfd,id=ram,size=1G,share=on"),
        *("-run-with", "exit-with-parent=on"),
        *("-serial", "mon:stdio"),
        *("-kernel", f"{guest}/kernel", "-initrd", f"{guest}/initrd"),
        *("-append", "console=ttyS0 panic=-1 ip=10.0.0.2/24"),
        *("-device", '{"id": "n0", "driver": "near", "slot": 7}'),
    ]
    assert (0, expected) == (done.returncode, shlex.split(done.stdout))
    assert not (world / "ran").exists()


def test_a_guest_that_switches_off_ends_the_network(world: Path) -> None:
    fake_qemu(world / "bin/qemu-system-x86_64", behaviour="echo the guest speaks")
    done = boot(world, "lab.toml")
    assert (0, "the guest speaks\nthe bus is closed\n") == (done.returncode, done.stdout)


def test_events_go_to_the_log_and_not_to_the_guest_s_terminal(world: Path) -> None:
    fake_qemu(world / "bin/qemu-system-x86_64")
    boot(world, "lab.toml", "--log", "log")
    assert ["start", "warning", "ready", "stop"] == [
        line.split()[1] for line in (world / "log").read_text().splitlines()
    ]


def test_a_qemu_that_fails_is_the_host_s_fault(world: Path) -> None:
    fake_qemu(world / "bin/qemu-system-x86_64", behaviour="exit 3")
    done = boot(world, "lab.toml")
    assert (1, True) == (done.returncode, "it ended with status 3" in done.stderr)
    assert "the bus is closed\n" == done.stdout


@pytest.fixture
def hanging(world: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A boot whose QEMU, of that process id, runs until it is ended."""
    sleep = subprocess.run(["/bin/sh", "-c", "PATH=/bin:/usr/bin command -v sleep"], capture_output=True, text=True)
    fake_qemu(world / "bin/qemu-system-x86_64", behaviour=f"echo $$; exec {sleep.stdout.strip()} 1000")
    command = [sys.executable, "-c", PROGRAM, "boot", "lab.toml"]
    with subprocess.Popen(command, cwd=world, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
        process.kill()


def test_sigterm_ends_qemu_first_and_then_the_network(hanging: tuple[subprocess.Popen[str], int]) -> None:
    process, qemu = hanging
    process.terminate()
    output, _ = process.communicate(timeout=30)
    assert (0, "the bus is closed\n") == (process.returncode, output)
    with pytest.raises(ProcessLookupError):
        os.kill(qemu, 0)


def test_a_killed_qemu_ends_the_network_and_is_told(hanging: tuple[subprocess.Popen[str], int]) -> None:
    process, qemu = hanging
    os.kill(qemu, signal.SIGKILL)
    output, errors = process.communicate(timeout=30)
    assert (1, "the bus is closed\n") == (process.returncode, output)
    assert "it ended with status -9" in errors


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--disk", "lab.toml", "--kernel", "lab.toml"], "--disk: a disk and a kernel"),
        (["--initrd", "lab.toml"], "--initrd: an initramfs without its kernel"),
        (["--disk", "lab.toml", "--append", "ip=10.0.0.2/24"], "--append: a disk's own boot loader"),
        (["--snapshot"], "--snapshot: nothing to take a snapshot of (allowed: with --disk)"),
        (["--append", "x" * 2048], "--append: the kernel's command line has 2,071 bytes (allowed: 2,047)"),
    ],
)
def test_options_that_contradict_each_other_are_refused(world: Path, arguments: list[str], problem: str) -> None:
    fake_qemu(world / "bin/qemu-system-x86_64")
    done = boot(world, "lab.toml", *arguments)
    assert (2, True) == (done.returncode, problem in done.stderr)


def test_a_network_without_a_nic_that_qemu_reaches_is_refused(world: Path) -> None:
    fake_qemu(world / "bin/qemu-system-x86_64")
    (world / "lab.toml").write_text('[nic.n0]\nmodel = "nic"\nbus = "far"\nslot = 7\n')
    done = boot(world, "lab.toml")
    assert (2, True) == (done.returncode, "QEMU can reach none of its NICs" in done.stderr)


def test_a_qemu_that_is_too_old_is_named_with_what_gets_another(world: Path) -> None:
    own = fake_qemu(world / "bin/qemu-system-x86_64", version="10.1.0")
    with pytest.raises(HostError, match=rf"10\.1\.1 or later, and {own} is 10\.1\.0; script/get-qemu") as refused:
        Qemu.find()
    assert 1 == boot(world, "lab.toml").returncode
    assert "script/get-qemu" in refused.value.remedy


def test_the_machine_s_own_qemu_comes_first_if_it_is_new_enough(world: Path) -> None:
    cached = fake_qemu(world / "cache/qemu/qemu-system-x86_64", version="11.1.3")
    own = fake_qemu(world / "bin/qemu-system-x86_64", version="10.1.1")
    assert Qemu(own, (10, 1, 1)) == Qemu.find()
    fake_qemu(own, version="7.2.22")
    assert Qemu(cached, (11, 1, 3)) == Qemu.find()
    assert Qemu(cached, (11, 1, 3)) == Qemu.find(str(cached))


def test_without_a_guest_the_error_says_how_to_get_one(world: Path) -> None:
    with pytest.raises(HostError, match="script/get-guest --suite bookworm"):
        Kernel.cached("bookworm")


def test_a_disk_is_booted_as_what_its_name_says(tmp_path: Path) -> None:
    def drive(name: str) -> str:
        argv = Machine(qemu=Qemu(tmp_path, (11, 1, 3)), disk=Path(name)).argv
        return argv[argv.index("-drive") + 1]

    assert "if=virtio,format=qcow2,file=a.qcow2" == drive("a.qcow2")
    assert "if=virtio,format=raw,file=a,,b.img" == drive("a,b.img")


def test_only_a_snapshot_forgets_what_a_guest_writes_to_its_disk(tmp_path: Path) -> None:
    qemu, disk = Qemu(tmp_path, (11, 1, 3)), Path("a.qcow2")
    assert "-snapshot" not in Machine(qemu=qemu, disk=disk).argv
    assert "-snapshot" in Machine(qemu=qemu, disk=disk, snapshot=True).argv


def test_a_qemu_that_cannot_end_with_its_parent_is_not_asked_to(tmp_path: Path) -> None:
    assert "-run-with" not in Machine(qemu=Qemu(tmp_path, (10, 1, 1))).argv


def test_words_for_a_kernel_that_the_disk_has_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--append"):
        Machine(qemu=Qemu(tmp_path, (11, 1, 3)), disk=tmp_path, append="quiet")
