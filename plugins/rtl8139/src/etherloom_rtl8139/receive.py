"""Reception in C+ mode: from the wire into the descriptor ring."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeAlias
from zlib import crc32

from etherloom import FRAME_MIN, FRAME_PAD, Drop
from etherloom.device import DmaError
from etherloom.device.filter import AddressFilter
from etherloom_rtl8139.checksums import verdict
from etherloom_rtl8139.registers import Command, CpCommand, Interrupt, ReceiveConfig
from etherloom_rtl8139.rings import EOR, FS, LS, OWN, RING_MAX, Ring

if TYPE_CHECKING:
    from etherloom_rtl8139.model import Rtl8139

__all__ = ["BROADCAST", "FRAME_LONGEST", "MULTICAST", "STATION", "Overflow", "Receiver"]

# Descriptor status: the kind of address (MAR, PAM, BAR in the data sheet, where MAR is a register, too).
MULTICAST: Final = 1 << 26
STATION: Final = 1 << 25
BROADCAST: Final = 1 << 24

CRC_BYTES: Final = 4
FRAME_LONGEST: Final = 4096 - CRC_BYTES  # a longer one is LONG, which no driver wants
SIZE_MASK: Final = 0x1FFF
TPID: Final = b"\x81\x00"
TAG_AVAILABLE: Final = 1 << 16
TAG_WORD: Final = 0x1FFFF
VLAN, CHECKSUM = int(CpCommand.RX_VLAN), int(CpCommand.RX_CHECKSUM)
ROK, RDU = int(Interrupt.ROK), int(Interrupt.RDU)
NO_DESCRIPTOR: Final = (0, 0, 0)

# How long a full ring may hold the source back. 8139cp gives descriptors back without touching a register, so the ring
# is looked at again by time as well as at the driver's accesses. A guest under TCG whose processors share ours stands
# still for 12 to 46 ms now and then, and with 10 ms a flood cost it hundreds of frames.
RETRY_NS = 200_000
HOLD_NS = 100_000_000

# A guest may wait for the answer to a register read meanwhile.
TURN_SEGMENTS = 16

Kind: TypeAlias = tuple[int, int] | None
"""What a frame's descriptor is to say: address and checksum bits, and the VLAN tag or 0; None if it is not accepted."""


class Overflow(Enum):
    """What a full ring does to the source. Differs from QEMU (R-55): `hold`."""

    HOLD = "hold"
    DROP = "drop"


class Receiver:
    """The receive engine.

    Attributes:
        ring: Where frames go.
        on: RE and CPCR's receive bit are set, and the function is in D0.
    """

    def __init__(self, nic: Rtl8139, overflow: Overflow) -> None:
        self._nic = nic
        self._overflow = overflow
        self.ring = Ring(nic.dma)
        self.on = False
        # Differs from QEMU: a frame's kind of address is told in promiscuous mode too.
        self._filter = AddressFilter(broadcast=BROADCAST, multicast=MULTICAST, station=STATION)
        self._features = 0
        self._rest: list[bytes] = []  # the next segments of a frame that was taken
        self._uncut: Iterator[bytes] = iter(())  # those behind them
        self._kind: Kind = None  # of all of them
        self._more = nic.context.bottom_half(nic, self._next_turn)
        self._unread: int | None = None  # the last descriptor filled since `owes_interrupt` said so
        self._hold_until_ns: int | None = None  # in the past: held for long enough, drop until a frame fits
        self._retry = nic.context.timer(nic, self._still_full)  # armed while anything is held back

    def configure(self) -> None:
        """CR, CPCR, RCR, IDR, MAR or the power state changed."""
        nic = self._nic
        self._features = nic.CPCR
        was, self.on = self.on, bool(nic.CR & Command.RE and nic.CPCR & CpCommand.RX) and not nic.sleeping
        accept = nic.RCR
        self._filter.configure(
            nic.mac,
            hashes=nic.MAR,
            broadcast=bool(accept & ReceiveConfig.AB),
            multicast=bool(accept & ReceiveConfig.AM),
            station=bool(accept & ReceiveConfig.APM),
            everything=bool(accept & ReceiveConfig.AAP),
        )
        if self._rest:
            self._kind = self._look_at(self._rest[0])
        if self.on is was:
            return
        if self.on:
            self.restart(nic.RDSAR)
            self._hold_until_ns = None
        elif self.behind or self._retry.armed:
            self._retry.cancel()
            if self._rest:
                nic.drop(Drop.REFUSED, len(self._rest) + sum(1 for _ in self._uncut))
                self._rest = []
            nic.flush()  # what was held is dropped: a receiver that is off must not stall the wire

    def restart(self, base: int) -> None:
        """The driver made another ring."""
        self.ring.restart(base)
        self._unread = None

    @property
    def behind(self) -> bool:
        """Segments of an earlier frame have still to be stored."""
        return bool(self._rest)

    def receive(self, first: bytes, others: Iterator[bytes]) -> bool:
        """One frame from the wire, or the segments of a large one; False to be offered it again."""
        kind = self._look_at(first)
        second = next(others, None)
        if second is not None:
            self._kind, self._rest, self._uncut = kind, [first, second], others
            self._go_on()
            return True
        if self._store((first,), kind):
            return True
        if self._overflow is Overflow.HOLD and self._hold():
            return False
        self._nic.miss()
        return True

    def _go_on(self) -> None:
        """Store segments, as many as one turn takes, up to one that is to be held back."""
        rest = self._rest
        rest.extend(islice(self._uncut, TURN_SEGMENTS + 1 - len(rest)))  # the last tells that there is another turn
        turn = rest[:TURN_SEGMENTS]
        done = self._store(turn, self._kind)
        while done < len(turn) and not (self._overflow is Overflow.HOLD and self._hold()):
            self._nic.miss()
            done += 1 + self._store(turn[done + 1 :], self._kind)
        del rest[:done]
        if done == len(turn) and rest:
            self._more.schedule()

    def _next_turn(self) -> None:
        """Go on with the segments, if there are any; when none is left, with the source."""
        if self._rest:
            self._go_on()
        if not self._rest:
            self._nic.flush()

    def take(self, frame: bytes) -> bool:
        """One frame, to be stored or dropped; False, with nothing counted, if there is no descriptor for it."""
        return bool(self._store((frame,), self._look_at(frame)))

    def _look_at(self, frame: bytes) -> Kind:
        """What the filter and the checksum engine say of a frame; it holds for all segments of a large one."""
        status = self._filter.match(frame[:6]) if self.on and len(frame) >= FRAME_MIN else None
        if status is None:
            return None
        tag = 0
        if self._features & VLAN and frame[12:14] == TPID:
            tag = TAG_AVAILABLE | int.from_bytes(frame[14:16], "little")  # it reads byte-swapped
            frame = _untagged(frame)
        if self._features & CHECKSUM:
            status |= verdict(frame.ljust(FRAME_PAD, b"\0"))
        return status, tag

    def _store(self, frames: Sequence[bytes], kind: Kind) -> int:
        """Store frames of one kind, or drop them; how many, up to one for which there is no descriptor."""
        nic, ring = self._nic, self.ring
        if kind is None:
            nic.drop(Drop.REFUSED, len(frames))  # as the chip: nothing else counts them
            return len(frames)
        status, tag = kind
        keep = ~TAG_WORD if tag else ~TAG_AVAILABLE  # of a descriptor's VLAN word
        done = stored = 0
        for frame in frames:
            if len(frame) > FRAME_LONGEST:
                nic.drop(Drop.REFUSED)
                done += 1
                continue
            if len(frame) < FRAME_PAD:
                frame = frame.ljust(FRAME_PAD, b"\0")  # Differs from QEMU: a real wire never delivers less
            crc = crc32(frame).to_bytes(CRC_BYTES, "little")
            data = _untagged(frame) + crc if tag else frame + crc
            length = len(data)
            try:
                address = ring.next
                command, vlan, buffer = ring.fetch(address) if ring.base else NO_DESCRIPTOR
                if not command & OWN or not command & SIZE_MASK:
                    break
                if length <= command & SIZE_MASK:
                    nic.dma.write(buffer, data)
                    ring.give_back(address, command & EOR | FS | LS | status | length, vlan & keep | tag)
                    ring.next = ring.after(address, command)
                elif not self._scatter(data, status, keep, tag):
                    break
                self._unread = address
                stored += 1
            except DmaError:
                nic.raise_soon(nic.bus_error())
                nic.drop(Drop.HOST_ERROR)
            done += 1
        if stored:
            self._hold_until_ns = None
            nic.tally.received(stored, status & MULTICAST, status & BROADCAST)
            nic.raise_soon(ROK)
        return done

    def _accessed(self) -> None:
        """The driver did something."""
        if self._retry.armed:
            self._look_again()

    def _look_again(self) -> None:
        """Offer what is held once more, if there is room for it now, or it was held for long enough."""
        if not self._ready() and self._hold():
            return
        self._retry.cancel()
        self._next_turn()

    def owes_interrupt(self) -> bool:
        """The driver wants to be interrupted: whether there is a frame of which it does not know; once for each.

        A driver acknowledges ROK and looks into its ring. On a bus that posts writes the ring may be quicker: a frame
        that the driver did not see then lost its interrupt to an acknowledgement that was meant for those before.
        """
        address, self._unread = self._unread, None
        try:
            return address is not None and not self.ring.fetch(address)[0] & OWN
        except DmaError:
            return False

    def _still_full(self) -> None:
        """Time passed. A driver that does not know that the ring is full, see `owes_interrupt`, hears of it now."""
        if not self._ready():
            self._nic.raise_now(RDU)
        self._look_again()

    def _hold(self) -> bool:
        """Hold the source back and look again soon; False when that has been going on for long enough."""
        now_ns = self._nic.context.clock.now_ns()
        if self._hold_until_ns is None:
            self._hold_until_ns = now_ns + HOLD_NS
        if now_ns >= self._hold_until_ns:
            return False
        self._retry.arm(min(now_ns + RETRY_NS, self._hold_until_ns))
        self._nic.on_next_access(self._accessed)
        return True

    def _ready(self) -> bool:
        try:
            return self.ring.base != 0 and bool(self.ring.fetch(self.ring.next)[0] & OWN)
        except DmaError:
            return True  # and let the next frame find out

    def _scatter(self, data: bytes, status: int, keep: int, tag: int) -> bool:
        """Put a frame into several descriptors; False, with nothing written, if they are not there.

        Differs from QEMU (R-54): a frame larger than one buffer goes on in the next.
        """
        ring, dma = self.ring, self._nic.dma
        length, room, address = len(data), 0, ring.next
        taken: list[tuple[int, int, int, int]] = []  # where the descriptor is, and its three fields
        while room < length:
            command, vlan, buffer = ring.fetch(address)
            if not command & OWN or not command & SIZE_MASK:
                return False
            taken.append((address, command, vlan, buffer))
            room += command & SIZE_MASK
            address = ring.after(address, command)
            if room < length and (address == ring.next or len(taken) == RING_MAX):
                return False  # all descriptors together are too small
        at = 0
        for _, command, _, buffer in taken:
            size = command & SIZE_MASK
            dma.write(buffer, data[at : at + size])
            at += size
        # In reverse: a driver that finds the first descriptor its own finds the whole frame.
        status |= LS | length
        for place, command, vlan, _ in reversed(taken):
            first = FS if place == ring.next else 0
            ring.give_back(place, command & EOR | first | status, vlan & keep | tag)
            status &= ~(LS | SIZE_MASK)
        ring.next = address
        return True


def _untagged(frame: bytes) -> bytes:
    """A frame without its VLAN tag. Differs from QEMU (R-56): padded again."""
    return (frame[:12] + frame[16:]).ljust(FRAME_PAD, b"\0")
