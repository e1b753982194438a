"""Software for what a network card would do: see `complete`."""

from etherloom.net.offload.complete import complete
from etherloom.net.offload.header import GsoType, MalformedOffload, VnetFlag, VnetHeader
from etherloom.net.offload.segmentation import SEGMENTS_MAX
from etherloom.net.offload.vector import prepare

__all__ = ["SEGMENTS_MAX", "GsoType", "MalformedOffload", "VnetFlag", "VnetHeader", "complete", "prepare"]
