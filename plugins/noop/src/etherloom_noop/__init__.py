"""Kind `noop`: the smallest legal backend. It takes every frame and sends none.

It is also the template for yours: copy the directory, rename the two names, and put what your backend does in place of
each of the four parts below.
"""

from __future__ import annotations

import attrs

from etherloom import Context, Frame, NetClient, NetClientKind
from etherloom.config.options import option

__all__ = ["KIND", "Noop", "NoopOptions"]


@attrs.frozen(kw_only=True)
class NoopOptions:
    """What a config may say about a client of this kind."""

    label: str = option(default="", help="a word to tell this one from others in tables")


class Noop(NetClient):
    """A wire into nothing, which is not the same as no wire: the frames arrive."""

    def __init__(self, name: str, context: Context, label: str = "") -> None:
        super().__init__(name, context)
        self._label = label

    def receive(self, frame: Frame) -> bool:
        """Take any frame."""
        return True

    @property
    def info(self) -> str:
        """The label, if it has one."""
        return f"label={self._label}" if self._label else ""


def init(options: NoopOptions, name: str, peer: NetClient | None, context: Context) -> Noop:
    """Make one; core connects it to `peer`."""
    return Noop(name, context, options.label)


KIND = NetClientKind(kind="noop", options=NoopOptions, init=init, summary="takes every frame and sends none")
