"""The guest of `script/demo --guest`: Linux in QEMU, whose own driver drives nic0."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

from etherloom.config import toml
from etherloom.guest.qemu import Qemu, devices
from etherloom.plugins.registry import Registry
from etherloom.testing.guest import LinuxGuest
from examples.demo.outcome import Linux
from examples.demo.screen import Progress

__all__ = ["ADDRESS", "CONFIG", "SOCKET", "boot", "machine"]

CONFIG = Path(__file__).with_name("guest.toml")
SOCKET = Path("nic0.sock")  # as in guest.toml
ADDRESS = "10.77.0.2"

SHOWN_EVERY_S = 0.1
TIMESTAMP = re.compile(r"^\[ *[0-9.]+\] ")


def machine(registry: Registry) -> LinuxGuest:
    """The virtual machine, with the NIC of guest.toml; it has not been started."""
    nics = devices(toml.parse(CONFIG.read_text(), registry, file=CONFIG.name), registry)
    # loglevel=7: what it does is worth seeing, and costs 0.4 s. IPv6 would send frames that nobody sent on purpose.
    return LinuxGuest(nics, append=f"ip={ADDRESS}/24 ipv6.disable=1 loglevel=7")


async def boot(guest: LinuxGuest, progress: Progress) -> Linux:
    """Boot it, and show what its console says meanwhile.

    Raises:
        GuestError: It did not come up, and is gone.
    """
    version = ".".join(map(str, Qemu.find().version))
    progress.phase(f"QEMU {version} boots Linux on nic0")
    begin = time.perf_counter()
    showing = asyncio.create_task(_show(guest, progress))
    try:
        await guest.start()
    finally:
        showing.cancel()
    boot_s = time.perf_counter() - begin
    try:
        release = await guest.check("uname -r")
        said = await guest.check("dmesg | grep 8139")
    except BaseException:
        await guest.close()
        raise
    return Linux(release.strip(), version, boot_s, [TIMESTAMP.sub("", line) for line in said.splitlines()])


async def _show(guest: LinuxGuest, progress: Progress) -> None:
    """Time and the console's last line, until cancelled."""
    begin = time.perf_counter()
    while True:
        *_, last = ["", *guest.console.split("\r\n")[:-1]]
        progress.part(f"{time.perf_counter() - begin:.1f} s  {last}")
        await asyncio.sleep(SHOWN_EVERY_S)
