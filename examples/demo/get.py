"""What `script/demo --guest` needs and the machine lacks is got by the scripts that know how."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from etherloom import HostError
from etherloom.guest.qemu import Kernel, Qemu

__all__ = ["get_what_is_missing"]

SCRIPTS = Path(__file__).parents[2] / "script"


def get_what_is_missing() -> None:
    """Find a QEMU and a guest, or get them; only the first time takes some 30 s.

    Raises:
        HostError: They could not be got; the script has said why.
    """
    for find, script in (Qemu.find, "get-qemu"), (Kernel.cached, "get-guest"):
        try:
            find()
        except HostError as missing:
            print(f"demo: {missing}", flush=True)
            _run(script)
            find()


def _run(script: str) -> None:
    # A group of its own: what ends us ends the script in order, with whatever it runs just then.
    with subprocess.Popen(
        [SCRIPTS / script], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, process_group=0
    ) as process:
        try:
            status = process.wait()
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)
            raise
    if status:
        raise HostError(f"get what --guest needs: script/{script} failed, see above", remedy="without it: script/demo")
