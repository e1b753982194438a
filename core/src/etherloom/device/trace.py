"""A record of what a driver did to a device: register accesses, DMA, interrupts, frames.

Off, it costs nothing: tracing turns a device's register file and DMA door into recording subclasses, and back again,
and frames are watched by a path of their own.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import IO, Any

import attrs

from etherloom.client import VNET_HEADER_BYTES, Frame
from etherloom.device.memory import Dma
from etherloom.device.nic import NicModel
from etherloom.device.registers import RegisterFile

__all__ = ["Event", "Summary", "Trace", "to_json_lines"]


@attrs.frozen
class Event:
    """One thing that happened.

    Attributes:
        time_ns: On the context's clock.
        device: The NIC's name.
        what: `read`, `write`, `dma-read`, `dma-write`, `interrupt`, `frame-sent` or `frame-received`.
        name: The register's name, `+n` behind it for a byte within; empty where there is none.
        address: Register offset, or guest address.
        size: Bytes.
        value: What was read or written; for an interrupt the level. None for DMA and frames, whose data is not kept.
    """

    time_ns: int
    device: str
    what: str
    name: str = ""
    address: int = 0
    size: int = 0
    value: int | None = None


Sink = Callable[[Event], None]


class Trace:
    """Record one device from now on, until `stop`.

    Args:
        nic: The device; it must not be traced already.
        sink: Called with each event, from within the access; it must not touch the device.
    """

    def __init__(self, nic: NicModel, sink: Sink) -> None:
        self._nic, self._sink = nic, sink
        nic.registers.__class__ = _Registers
        nic.dma.__class__ = _Dma
        nic.registers.__dict__["trace"] = nic.dma.__dict__["trace"] = self
        nic.irq.watch(self.interrupt)
        self._receive = nic.receive
        nic.__dict__["receive"] = self._received
        nic.context.network.watch(nic, self._sent)

    def stop(self) -> None:
        """Put everything back."""
        nic = self._nic
        nic.registers.__class__, nic.dma.__class__ = RegisterFile, Dma
        del nic.registers.__dict__["trace"], nic.dma.__dict__["trace"]
        nic.irq.watch(None)
        del nic.__dict__["receive"]
        nic.context.network.watch(nic, None)

    def access(self, what: str, offset: int, data: bytes) -> None:
        """A register access; one event, named for the register that the first byte belongs to."""
        register = self._nic.registers.covering(offset)
        name = "" if register is None else register.name
        if register is not None and register.offset != offset:
            name += f"+{offset - register.offset}"
        self._emit(what, name, offset, len(data), int.from_bytes(data, "little"))

    def dma(self, what: str, address: int, size: int) -> None:
        """A DMA that succeeded."""
        self._emit(what, "", address, size, None)

    def interrupt(self, asserted: bool) -> None:
        """An edge of the interrupt line."""
        self._emit("interrupt", "", 0, 0, int(asserted))

    def _sent(self, frame: Frame) -> None:
        self._frame("frame-sent", frame)

    def _received(self, frame: Frame) -> bool:
        taken = self._receive(frame)
        if taken:
            self._frame("frame-received", frame)
        return taken

    def _frame(self, what: str, frame: Frame) -> None:
        self._emit(what, "", 0, len(frame) - (VNET_HEADER_BYTES if self._nic.vnet else 0), None)

    def _emit(self, what: str, name: str, address: int, size: int, value: int | None) -> None:
        nic = self._nic
        self._sink(Event(nic.context.clock.now_ns(), nic.name, what, name, address, size, value))


class _Registers(RegisterFile):
    """A register file that tells its trace."""

    trace: Trace

    def read(self, offset: int, size: int) -> bytes:
        data = super().read(offset, size)
        self.trace.access("read", offset, data)
        return data

    def write(self, offset: int, data: bytes) -> None:
        self.trace.access("write", offset, data)  # before its effects, so that a log reads in order
        super().write(offset, data)


class _Dma(Dma):
    """A DMA door that tells its trace."""

    trace: Trace

    def read(self, address: int, length: int) -> bytes:
        data = super().read(address, length)
        self.trace.dma("dma-read", address, length)
        return data

    def write(self, address: int, data: bytes) -> None:
        super().write(address, data)
        self.trace.dma("dma-write", address, len(data))


class Summary:
    """A sink that counts: accesses by register name, bytes of DMA, interrupts.

    Attributes:
        reads, writes: Accesses by register name.
        dma_read_bytes, dma_written_bytes: Bytes out of and into guest memory.
        interrupts: Rising edges.
    """

    def __init__(self) -> None:
        self.reads: Counter[str] = Counter()
        self.writes: Counter[str] = Counter()
        self.dma_read_bytes = self.dma_written_bytes = self.interrupts = 0

    def as_dict(self) -> dict[str, Any]:
        """The attributes by name, the registers' counts as dictionaries."""
        return {
            "reads": dict(self.reads),
            "writes": dict(self.writes),
            "dma_read_bytes": self.dma_read_bytes,
            "dma_written_bytes": self.dma_written_bytes,
            "interrupts": self.interrupts,
        }

    def __call__(self, event: Event) -> None:
        if event.what == "read":
            self.reads[event.name] += 1
        elif event.what == "write":
            self.writes[event.name] += 1
        elif event.what == "dma-read":
            self.dma_read_bytes += event.size
        elif event.what == "dma-write":
            self.dma_written_bytes += event.size
        elif event.what == "interrupt" and event.value:
            self.interrupts += 1


def to_json_lines(file: IO[str]) -> Sink:
    """A sink that writes one JSON object a line."""

    def sink(event: Event) -> None:
        file.write(json.dumps(attrs.asdict(event)) + "\n")

    return sink
