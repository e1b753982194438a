"""`etherloom boot`: a network, and a virtual machine on its NICs, until one of them ends."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from etherloom.bundled import QEMU_BUS
from etherloom.cli.source import load
from etherloom.errors import ConfigError, HostError

if TYPE_CHECKING:
    from etherloom.config.model import NetworkConfig
    from etherloom.guest.qemu import Machine
    from etherloom.plugins.registry import Registry

__all__ = ["boot"]

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
NEW_FILE = click.Path(dir_okay=False, path_type=Path)
STANDARD_STREAMS = (0, 1, 2)


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
@click.option("--kernel", type=FILE, help="A kernel to boot; else the guest that script/get-guest made.")
@click.option("--initrd", type=FILE, help="Its initramfs.")
@click.option("--suite", default="", help="Of several such guests, the one of this Debian suite.")
@click.option("--disk", type=FILE, help="A disk image to boot instead, qcow2 if its name says so, else raw.")
@click.option("--snapshot", is_flag=True, help="Forget what the guest writes to the disk, instead of keeping it.")
@click.option("--append", default="", metavar="WORDS", help="More words for the kernel's command line.")
@click.option("--memory", default="512M", show_default=True, metavar="SIZE", help="The guest's memory.")
@click.option("--accel", default="tcg", show_default=True, help="QEMU's accelerator: tcg, kvm.")
@click.option("--qemu", metavar="PROGRAM", help="A qemu-system-x86_64 >= 10.1.1; else what script/get-qemu prints.")
@click.option("--log", type=NEW_FILE, help="A file for the network's events.")
@click.option("--report", type=NEW_FILE, help="As of etherloom run: what its driver did to each NIC.")
@click.option("--trace", type=NEW_FILE, help="As of etherloom run: every access to each NIC.")
@click.option("--print", "print_only", is_flag=True, help="Print QEMU's command line and do nothing.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="FILE.toml | QEMU-ARGUMENTS...")
def boot(
    arguments: Sequence[str],
    print_only: bool,
    log: Path | None,
    report: Path | None,
    trace: Path | None,
    **options: Any,
) -> None:
    """Run a network and boot a guest in QEMU on those of its NICs that QEMU can reach (bus = "vfio-user").

    The terminal is the guest's serial console: Ctrl-A X ends QEMU, Ctrl-A C is its monitor. The guest of
    script/get-guest takes addresses from its command line:

    \b
      script/get-qemu && script/get-guest
      etherloom boot lab.toml --append "ip=10.0.0.2/24 gw=10.0.0.1"

    Everything else of the network is as in `etherloom run`.
    """
    from etherloom.plugins.registry import Registry

    registry = Registry.discover()
    config = load(arguments, registry)
    machine = _machine(config, registry, **options)
    if print_only:
        click.echo(shlex.join(machine.argv))
        return

    from etherloom.cli.session import Session

    qemu = QemuProcess(machine.argv, config.warnings)
    session = Session(
        registry, arguments, show_table=False, as_json=False, report=report, trace=trace, companion=qemu, log=log
    )
    session.run(config, None)
    if qemu.status:
        raise HostError(f"run QEMU: it ended with status {qemu.status}, see what it wrote above")


def _machine(
    config: NetworkConfig,
    registry: Registry,
    *,
    kernel: Path | None,
    initrd: Path | None,
    suite: str,
    disk: Path | None,
    snapshot: bool,
    append: str,
    memory: str,
    accel: str,
    qemu: str | None,
) -> Machine:
    """The machine that the options ask for, with a device for each NIC that QEMU can reach.

    Raises:
        ConfigError: There is no such NIC, or the options contradict each other.
        HostError: There is no QEMU that is new enough, or nothing to boot.
    """
    from etherloom.guest.qemu import Kernel, Machine, Qemu, devices

    reached = devices(config, registry)
    if not reached:
        raise ConfigError("QEMU can reach none of its NICs", allowed=f'a [nic.ID] with bus = "{QEMU_BUS}"')
    if disk is not None and (kernel is not None or suite):
        raise ConfigError("a disk and a kernel", origin="--disk", allowed="one of them")
    if initrd is not None and kernel is None:
        raise ConfigError("an initramfs without its kernel", origin="--initrd", allowed="--kernel and --initrd")
    found = Qemu.find(qemu)
    linux = Kernel(kernel, initrd) if kernel is not None else None
    if linux is None and disk is None:
        linux = Kernel.cached(suite)
    return Machine(
        qemu=found,
        kernel=linux,
        disk=disk,
        snapshot=snapshot,
        devices=reached,
        memory=memory,
        accel=accel,
        append=append,
    )


class QemuProcess:
    """QEMU as the companion of a session. Its terminal is ours.

    Args:
        argv: Its command line.
        warnings: Of the network; said before QEMU has the terminal.

    Attributes:
        status: How it ended by itself; 0 while it runs, and when we ended it.
    """

    def __init__(self, argv: Sequence[str], warnings: Sequence[str] = ()) -> None:
        self._argv, self._warnings = argv, warnings
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._terminal: Terminal | None = None
        self.status = 0

    async def start(self, stop: Callable[[str], None]) -> None:
        """Start QEMU.

        Raises:
            HostError: It cannot be started.
        """
        for warning in self._warnings:
            click.echo(f"etherloom: warning: {warning}", err=True)
        self._terminal = Terminal()
        try:
            self._process = await asyncio.create_subprocess_exec(*self._argv)
        except OSError as error:
            raise HostError("run QEMU", error.errno or 0, device=self._argv[0]) from error
        self._watch = asyncio.create_task(self._wait(self._process, stop))

    async def close(self) -> None:
        """End QEMU, whatever it does, and give the terminal back as it was."""
        if self._process is not None and self._watch is not None and not self._watch.done():
            from etherloom.guest.qemu import end

            self._watch.cancel()
            await end(self._process)
        if self._terminal is not None:
            self._terminal.restore()

    async def _wait(self, process: asyncio.subprocess.Process, stop: Callable[[str], None]) -> None:
        self.status = await process.wait()
        stop("QEMU has ended")


class Terminal:
    """How our standard streams are set now. QEMU changes it, and a QEMU that is killed leaves it changed."""

    def __init__(self) -> None:
        self._blocking = [os.get_blocking(fd) for fd in STANDARD_STREAMS]
        self._settings = None
        if sys.stdin.isatty():
            import termios

            self._settings = termios.tcgetattr(sys.stdin)

    def restore(self) -> None:
        """Set them so again."""
        for fd, blocking in zip(STANDARD_STREAMS, self._blocking, strict=True):
            os.set_blocking(fd, blocking)
        if self._settings is not None:
            import termios

            with suppress(termios.error):  # it has hung up
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._settings)
