"""VERSION: what the client can, and what we answer."""

from __future__ import annotations

import errno
import json
from typing import NamedTuple

from etherloom_vfio_user._memory import MAPS_MAX
from etherloom_vfio_user._wire import DATA_MAX, FDS_MAX, VERSION, Refusal

__all__ = ["Agreement", "negotiate"]

MAJOR, MINOR_MAX = 0, 2
PAGE = 4096

# The most important first: the answer is cut from the end until it fits.
CAPABILITIES = (
    ("max_msg_fds", FDS_MAX),
    ("max_data_xfer_size", DATA_MAX),
    ("pgsizes", PAGE),
    ("max_dma_maps", MAPS_MAX),
)


class Agreement(NamedTuple):
    """The result.

    Attributes:
        reply: Payload for the client.
        answers_dma_read: The client can be sent DMA_READ. QEMU's can; other clients take whatever comes for the reply
            they wait for. It is told by the capability that QEMU alone has.
    """

    reply: bytes
    answers_dma_read: bool


def negotiate(payload: bytes) -> Agreement:
    """Check a client's VERSION and answer it.

    The answer is no longer than the request, since QEMU has no room for more, and has a `capabilities` object if the
    request had, since rust-vmm needs one.

    Raises:
        Refusal: There is no common ground.
    """
    if len(payload) < VERSION.size:
        raise Refusal(errno.EINVAL, "VERSION is too short")
    major, minor = VERSION.unpack_from(payload)
    if major != MAJOR:
        raise Refusal(errno.EINVAL, f"the client speaks version {major}.{minor}")
    text = payload[VERSION.size :]
    capabilities = _parse(text) if text else {}
    _check(capabilities)
    return Agreement(
        VERSION.pack(MAJOR, min(minor, MINOR_MAX)) + _offer(len(text)), capabilities.get("write_multiple") is True
    )


def _offer(room: int) -> bytes:
    """Our capabilities as JSON in at most `room` bytes."""
    for count in range(len(CAPABILITIES), -1, -1):
        offer = json.dumps({"capabilities": dict(CAPABILITIES[:count])}, separators=(",", ":")).encode() + b"\0"
        if len(offer) <= room:
            return offer
    return b""


def _parse(text: bytes) -> dict[str, object]:
    if not text.endswith(b"\0"):
        raise Refusal(errno.EINVAL, "the client's capabilities do not end with NUL")
    try:
        said = json.loads(text[:-1] or b"{}")
    except (ValueError, RecursionError) as error:
        raise Refusal(errno.EINVAL, f"the client's capabilities are not JSON: {error}") from None
    capabilities = said.get("capabilities", {}) if isinstance(said, dict) else None
    if not isinstance(capabilities, dict):
        raise Refusal(errno.EINVAL, "the client's capabilities are not an object")
    return capabilities


def _check(capabilities: dict[str, object]) -> None:
    """Whoever gets a known one wrong gets others wrong too; unknown ones are nobody's business."""
    migration = capabilities.get("migration", {})
    if not isinstance(migration, dict):
        raise Refusal(errno.EINVAL, "the client's 'migration' is not an object")
    for name, value, low, high in (
        ("max_msg_fds", capabilities.get("max_msg_fds", 1), 0, FDS_MAX),
        ("max_data_xfer_size", capabilities.get("max_data_xfer_size", 0), 0, 1 << 64),
        ("max_dma_maps", capabilities.get("max_dma_maps", 0), 0, 1 << 64),
        ("pgsizes", capabilities.get("pgsizes", PAGE), PAGE, 1 << 64),
        ("pgsize", migration.get("pgsize", PAGE), PAGE, 1 << 64),
    ):
        if type(value) is not int or not low <= value <= high:
            raise Refusal(errno.EINVAL, f"the client's {name!r} is {str(value)[:20]!r}")
