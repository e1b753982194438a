"""Import of one chosen plugin, by stevedore."""

from __future__ import annotations

from importlib.metadata import EntryPoint

from stevedore.driver import DriverManager

__all__ = ["load"]


class _ChosenDriver(DriverManager[object]):
    """A driver manager for an entry point that was chosen beforehand.

    Left to itself stevedore looks the name up through its caches on disk and in the class, and of two distributions
    with one name takes what it finds. Here the choice is made, and what is loaded is what was chosen.
    """

    def __init__(self, entry_point: EntryPoint) -> None:
        self._chosen = entry_point
        super().__init__(entry_point.group, entry_point.name)

    def list_entry_points(self) -> list[EntryPoint]:
        return [self._chosen]


def load(entry_point: EntryPoint) -> object:
    """Import what `entry_point` names.

    Raises:
        Exception: Whatever the import raised. `SystemExit` passes too.
    """
    # Not `.driver`, which says `obj or plugin` and so mistakes one that is false for one that is not there.
    return _ChosenDriver(entry_point).extensions[0].plugin
