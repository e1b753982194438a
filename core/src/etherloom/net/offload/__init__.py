"""Software for what a network card would do: see `complete`."""

from etherloom.net.offload.complete import MalformedOffload, complete

__all__ = ["MalformedOffload", "complete"]
