"""What the tap plugin does when everybody is asked."""

from __future__ import annotations

from etherloom.plugins.hookspecs import hookimpl

__all__ = ["Hooks"]


class Hooks:
    """Implementations of `etherloom.plugins.hookspecs`."""

    @hookimpl
    def clean_host(self) -> list[str]:
        """Remove bridges, and whatever interface else, that bear the mark of a dead process.

        Of the current network namespace only: another one is not this process's to look into. Taps need no cleaning,
        they go with their process.
        """
        from etherloom_tap._links import remove_marked

        return remove_marked()
