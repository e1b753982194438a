"""QEMU around our NICs: which QEMU, which guest, and the arguments that bring them together.

A bus that QEMU reaches says so in its row (`GuestBusKind.qemu_device`). The machine is a `pc` that has serial lines,
our NICs and perhaps a disk, and whose RAM is a memory file that QEMU shares with us.

`script/get-qemu` and `script/get-guest` put what they get where this module looks for it.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from etherloom.errors import ConfigError, HostError

if TYPE_CHECKING:
    from etherloom.config.model import NetworkConfig
    from etherloom.plugins.registry import Registry

__all__ = ["Kernel", "Machine", "Qemu", "cache_directory", "devices", "end"]

QEMU_MIN = (10, 1, 1)  # 10.1.0 has the first vfio-user client, with a fault that stops it
EXIT_WITH_PARENT_MIN = (11, 0, 0)
TERMINATE_S = 5.0  # what QEMU may take over SIGTERM before it is killed; it needs some 20 ms
COMMAND_LINE_MAX = 2047  # bytes that Linux takes on x86; with more it says nothing and hangs
CONSOLE = "console=ttyS0 panic=-1"  # panic=-1: reboot at once, so that a dead guest is seen to be one


def cache_directory() -> Path:
    """Where the scripts put what they get: `$ETHERLOOM_CACHE`, else `etherloom` in the user's cache directory."""
    if given := os.environ.get("ETHERLOOM_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "etherloom")


@attrs.frozen
class Qemu:
    """A `qemu-system-x86_64` that can be a client of our guest buses.

    Attributes:
        path: The program.
        version: Its version, as three numbers.
    """

    path: Path
    version: tuple[int, ...]

    @classmethod
    def find(cls, given: str | None = None) -> Qemu:
        """`given` if there is one, else the machine's own if it is new enough, else what `script/get-qemu` has got.

        Raises:
            HostError: None of them is there and new enough; the message says what is.
        """
        seen = []
        for name in [given] if given else ["qemu-system-x86_64", str(cache_directory() / "qemu/qemu-system-x86_64")]:
            path = shutil.which(name)
            version = _version(path) if path else ()
            if path and version >= QEMU_MIN:
                return cls(Path(path), version)
            if path:
                seen.append(f"{path} is {_dotted(version) if version else 'no QEMU'}")
        found = "; ".join(seen) or f"there is no {given or 'qemu-system-x86_64'}"
        remedy = "script/get-qemu gets one that is"
        raise HostError(f"use QEMU: it has to be {_dotted(QEMU_MIN)} or later, and {found}", remedy=remedy)


@attrs.frozen
class Kernel:
    """A Linux to boot without a disk: a kernel and its initramfs."""

    kernel: Path
    initrd: Path | None = None

    @classmethod
    def cached(cls, suite: str = "") -> Kernel:
        """The guest that `script/get-guest` made.

        Args:
            suite: The Debian suite; empty for the first one there is, by name.

        Raises:
            HostError: There is none.
        """
        for directory in sorted((cache_directory() / "guest").glob(f"{suite or '*'}/")):
            if (directory / "kernel").is_file():
                return cls(directory / "kernel", directory / "initrd")
        option = f" --suite {suite}" if suite else ""
        raise HostError(
            "find a guest to boot", remedy=f"name its --kernel or --disk, or let script/get-guest{option} make one"
        )


@attrs.frozen(kw_only=True)
class Machine:
    """A virtual machine to be, as QEMU's arguments say it.

    Attributes:
        qemu: The program.
        kernel: What to boot; None to boot from `disk`.
        disk: A disk image, qcow2 if its name says so, else raw; or None.
        snapshot: Whether what the guest writes to the disk is forgotten at the end; else it is in the image at once.
        devices: One `-device` each.
        memory: Of the guest, in QEMU's spelling: `512M`.
        accel: QEMU's accelerator.
        append: More words for the kernel's command line.
        serial: One `-serial` each; the first is the console.
    """

    qemu: Qemu
    kernel: Kernel | None = None
    disk: Path | None = None
    snapshot: bool = False
    devices: Sequence[Mapping[str, object]] = ()
    memory: str = "512M"
    accel: str = "tcg"
    append: str = ""
    serial: Sequence[str] = ("mon:stdio",)

    def __attrs_post_init__(self) -> None:
        if self.append and self.kernel is None:
            raise ConfigError("a disk's own boot loader has the kernel's command line", origin="--append")
        if self.snapshot and self.disk is None:
            raise ConfigError("nothing to take a snapshot of", origin="--snapshot", allowed="with --disk")
        if (length := len(self.command_line.encode())) > COMMAND_LINE_MAX:
            raise ConfigError(
                f"the kernel's command line has {length:,} bytes", origin="--append", allowed=f"{COMMAND_LINE_MAX:,}"
            )

    @property
    def command_line(self) -> str:
        """The kernel's, if it is not the disk's boot loader that has it."""
        return f"{CONSOLE} {self.append}".strip()

    @property
    def argv(self) -> list[str]:
        """The command line, the program first."""
        argv = [str(self.qemu.path), "-nodefaults", "-no-user-config", "-display", "none"]
        argv += ["-machine", "pc,memory-backend=ram", "-accel", self.accel, "-m", self.memory]
        # share=on is what lets us read and write the guest's memory. It is this backend's default; with share=off what
        # the guest writes goes into private copies of the pages that we see.
        argv += ["-object", f"memory-backend-memfd,id=ram,size={self.memory},share=on"]
        if self.qemu.version >= EXIT_WITH_PARENT_MIN:
            argv += ["-run-with", "exit-with-parent=on"]
        for serial in self.serial:
            argv += ["-serial", serial]
        if self.kernel is not None:
            argv += ["-kernel", str(self.kernel.kernel)]
            if self.kernel.initrd is not None:
                argv += ["-initrd", str(self.kernel.initrd)]
            argv += ["-append", self.command_line]
        if self.disk is not None:
            image = "qcow2" if self.disk.suffix == ".qcow2" else "raw"
            argv += ["-drive", f"if=virtio,format={image},file={str(self.disk).replace(',', ',,')}"]
        if self.snapshot:
            argv.append("-snapshot")
        for device in self.devices:
            argv += ["-device", json.dumps(device)]
        return argv


def devices(config: NetworkConfig, registry: Registry) -> list[dict[str, object]]:
    """A `-device` for each NIC of a network that QEMU can reach, in the network's order."""
    buses = [(client.name, client.bus) for client in config.clients if client.bus is not None]
    return [
        {"id": name, **device(bus.options)}
        for name, bus in buses
        if (device := registry.bus(bus.kind).qemu_device) is not None
    ]


async def end(process: asyncio.subprocess.Process) -> None:
    """Terminate a process, or kill it if that takes too long; no matter if it has ended."""
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(TERMINATE_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _version(path: str) -> tuple[int, ...]:
    """The version that a QEMU says it is; empty if it says nothing of the kind."""
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    match = re.match(r"QEMU emulator version (\d+)\.(\d+)\.(\d+)", said)
    return tuple(int(number) for number in match.groups()) if match else ()


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(number) for number in version)
