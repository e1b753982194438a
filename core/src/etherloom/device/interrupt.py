"""A level interrupt: the model sets it, the guest bus carries it.

The line is asserted while the model's level is high, the guest has not disabled INTx (PCI 3.0, 6.2.2) and the function
is in D0 (PM 1.2, 5.4). A guest bus is told of edges of that conjunction only, while the model runs: it calls nothing of
the model's from there.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["InterruptLine"]


class InterruptLine:
    """INTx of one function.

    Attributes:
        level: What the model asks for.
        disabled: COMMAND bit 10, or a power state below D0.
        asserted: What the guest's interrupt controller sees.
        rises: How often `asserted` became true.
    """

    __slots__ = ("_sink", "_watcher", "asserted", "disabled", "level", "rises")

    def __init__(self) -> None:
        self._sink: Callable[[bool], None] | None = None
        self._watcher: Callable[[bool], None] | None = None
        self.level = self.disabled = self.asserted = False
        self.rises = 0

    def connect(self, sink: Callable[[bool], None] | None) -> None:
        """Tell `sink(asserted)` of every edge; once now if the line is asserted already."""
        self._sink = sink
        if sink is not None and self.asserted:
            sink(True)

    def watch(self, watcher: Callable[[bool], None] | None) -> None:
        """Tell a trace of every edge, before the guest bus."""
        self._watcher = watcher

    def set(self, level: bool) -> None:
        """The model's level; setting it again costs nothing."""
        if level is not self.level:
            self.level = level
            self._update()

    def disable(self, disabled: bool) -> None:
        """Mask the line."""
        if disabled is not self.disabled:
            self.disabled = disabled
            self._update()

    def _update(self) -> None:
        asserted = self.level and not self.disabled
        if asserted is self.asserted:
            return
        self.asserted = asserted
        self.rises += asserted
        if self._watcher is not None:
            self._watcher(asserted)
        if self._sink is not None:
            self._sink(asserted)
