"""Etherloom's main job, shown: `script/demo` runs this.

The kernel pings and streams from a LAN over a bridge, a tap, Etherloom's hub and another tap to a guest's side, while
`etherloom run` shows its live table. Then a NIC joins the hub of the network that runs, and the kernel pings it and
sends it UDP. Where the host refuses namespaces or taps it says what was refused, and the same network runs between
memory peers. Nothing is left behind, at whatever moment it ends.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from pathlib import Path

from etherloom import HostError
from etherloom_tap.lab import become_root_of_a_user_namespace, can_make_namespaces
from examples.demo import kernel, memory
from examples.demo.drawing import draw
from examples.demo.outcome import Outcome
from examples.demo.screen import Progress
from examples.demo.summary import summary

PICTURE = Path("out/demo.svg")


def main() -> int:
    """Run the demo; 130 after Ctrl-C, as the shell has it."""
    argparse.ArgumentParser(
        prog="script/demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        outcome = _run(Progress())
    except KeyboardInterrupt:
        print("\ndemo: stopped; everything it made is gone")
        return 128 + signal.SIGINT
    print("", *summary(outcome), "", sep="\n")
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(draw(outcome), encoding="utf-8")
    print(f"  the network, drawn: {shlex.quote(str(PICTURE))}")
    return 0


def _run(progress: Progress) -> Outcome:
    try:
        if not can_make_namespaces():
            become_root_of_a_user_namespace()
        return kernel.run(progress)
    except HostError as error:
        print(f"\ndemo: refused: {error}\ndemo: so the same network runs between memory peers", flush=True)
        return memory.run(progress, str(error))


if __name__ == "__main__":
    sys.exit(main())
