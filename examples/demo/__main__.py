"""Etherloom's main job, shown: `script/demo` runs this.

The kernel pings and streams from a LAN over a bridge, a tap, Etherloom's hub and another tap to a guest's side, while
`etherloom run` shows its live table. Then a NIC joins the hub of the network that runs, and the kernel pings it and
sends it UDP.

With --guest the NIC is a PCI card of a virtual machine: Linux boots on it, and its own driver answers the LAN's ping
and streams TCP. QEMU and the guest come from script/get-qemu and script/get-guest, the first time.

Where the host refuses namespaces or taps it says what was refused, and the same network runs between memory peers.
Nothing is left behind, at whatever moment it ends.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path

from etherloom import EtherloomError, HostError
from etherloom_tap.lab import become_root_of_a_user_namespace, can_make_namespaces
from examples.demo import guest, kernel, memory
from examples.demo.drawing import draw
from examples.demo.get import get_what_is_missing
from examples.demo.outcome import Outcome
from examples.demo.screen import Progress
from examples.demo.summary import summary

PICTURE, GUEST_PICTURE = Path("out/demo.svg"), Path("out/guest.svg")


def main() -> int:
    """Run the demo; 130 after Ctrl-C, as the shell has it."""
    parser = argparse.ArgumentParser(
        prog="script/demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--guest", action="store_true", help="boot Linux on a NIC of ours")
    with_guest = parser.parse_args().guest
    ended_by = signal.SIGINT

    def terminate(*_: object) -> None:
        """As Ctrl-C, which an event loop takes for its task to be cancelled."""
        nonlocal ended_by
        ended_by = signal.SIGTERM
        signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGTERM, terminate)
    try:
        outcome = _run_with_guest() if with_guest else _run(kernel.run, memory.run)
    except KeyboardInterrupt:
        print("\ndemo: stopped; everything it made is gone")
        return 128 + ended_by
    except EtherloomError as error:
        print(f"\ndemo: {error}\ndemo: everything it made is gone")
        return 1
    print("", *summary(outcome), "", sep="\n")
    picture = GUEST_PICTURE if with_guest else PICTURE
    picture.parent.mkdir(exist_ok=True)
    picture.write_text(draw(outcome), encoding="utf-8")
    print(f"  the network, drawn: {shlex.quote(str(picture))}")
    return 0


def _run_with_guest() -> Outcome:
    get_what_is_missing()
    with tempfile.TemporaryDirectory(prefix="etherloom-") as sockets, chdir(sockets):
        return _run(guest.run, memory.run_guest)


def _run(in_kernel: Callable[[Progress], Outcome], in_memory: Callable[[Progress, str], Outcome]) -> Outcome:
    progress = Progress()
    try:
        if not can_make_namespaces():
            become_root_of_a_user_namespace()
        return in_kernel(progress)
    except HostError as error:
        print(f"\ndemo: refused: {error}\ndemo: so the same network runs between memory peers", flush=True)
        return in_memory(progress, str(error))


if __name__ == "__main__":
    sys.exit(main())
