"""What `-netdev help`, `-netdev tap,help` and their like print (O-08, O-11)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etherloom.config.options import describe

if TYPE_CHECKING:
    from etherloom.kinds import NetClientKind
    from etherloom.plugins.registry import Registry

__all__ = ["HelpRequested", "kinds_text", "options_text"]

HEADINGS = {"net_client": "Net client kinds", "nic_model": "NIC models"}


class HelpRequested(Exception):
    """The arguments ask for help instead of a network.

    Args:
        text: What to print, without a newline at the end.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def kinds_text(registry: Registry, table: str) -> str:
    """The kinds of a table that are installed, one a line. Imports no plugin."""
    kinds = registry.kinds(table) or ["none is installed"]
    return "\n".join([f"{HEADINGS[table]}:", *(f"  {kind}" for kind in kinds)])


def options_text(row: NetClientKind) -> str:
    """The options of a kind, one a line."""
    lines = [f"{row.kind}: {row.summary}"]
    options = describe(row)
    width = max((len(f"{option.name}=<{option.type}>") for option in options), default=0)
    for option in options:
        default = f" (default: {option.default})" if option.default not in ("", "required") else ""
        required = " (required)" if option.default == "required" else ""
        lines.append(f"  {f'{option.name}=<{option.type}>':{width}}  {option.help}{default}{required}")
    return "\n".join(lines)
