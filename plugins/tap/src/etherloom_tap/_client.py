"""The data path of a tap: frames between its fd and `send` and `receive`.

Each direction is one closure, made once, whose names are local: an attribute costs 20-40 ns, and a 64-byte frame takes
some 4 us through the whole program.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable

from etherloom import FRAME_MIN, FRAME_PAD, VNET_HEADER_BYTES, Context, Drop, Frame, HostError, NetClient, Offload
from etherloom_tap._device import TunDevice
from etherloom_tap._links import BridgePort
from etherloom_tap._scripts import Scripts

__all__ = ["TapClient"]

log = logging.getLogger("etherloom.tap")

# Refusals that concern one frame or pass: the interface is down, memory is short, a header contradicts its frame.
ORDINARY = frozenset((errno.EIO, errno.ENOBUFS, errno.ENOMEM, errno.EINVAL))

# Views of frames up to this size are kept, at 200 bytes each; the larger ones, from offloads, hardly repeat a size.
VIEWS_KEPT = 2048

# How often a burst is as long as it may be before it may be longer.
FULL_BURSTS = 16


class TapClient(NetClient):
    """A tap in the network.

    Args:
        name: See `NetClient`.
        context: See `NetClient`.
        device: The tap; the client owns it from here on.
        scripts: Run in `start` and in `close`.
        port: What the tap is in a bridge, if it is in one.
    """

    def __init__(
        self, name: str, context: Context, device: TunDevice, scripts: Scripts, port: BridgePort | None = None
    ) -> None:
        super().__init__(name, context)
        self.vnet = device.vnet
        self.device, self.port = device, port
        self._scripts = scripts
        self._running = self._started = False  # the first script, all of `start`
        self._reading = True
        self._in_burst = self._closed = self._complained = False
        self._read_burst = self._make_reader()
        self._watch = context.watch_fd(self, device.fd, on_readable=self._read_burst, on_writable=self._on_writable)
        # A closure in place of the method, see the module's text.
        self.receive = self._make_writer()  # type: ignore[method-assign, assignment]
        self.shortcut = device.write  # of two function calls a frame this saves one
        self._watch.readable(True)

    async def start(self) -> None:
        """Run the script."""
        self._running = True
        try:
            await self._scripts.bring_up(self.device.ifname)
        finally:
            self._running = False
        self._started = True

    def resume(self) -> None:
        """Read again."""
        self._reading = True
        self._watch.readable(True)

    def set_offload(self, offload: Offload) -> None:
        """Tell the kernel what it may leave undone."""
        self.device.set_offload(offload)

    def close(self) -> None:
        """Run the second script if the first has run (C-79), leave the bridge, let go of the tap."""
        self._closed = True
        try:
            if self._started:
                self._scripts.bring_down(self.device.ifname)
        finally:
            try:
                if self.port is not None:
                    self.port.leave(self._heir(self.port))
            finally:
                if not self._in_burst:  # else the reader, which is on the stack, closes it
                    self.device.close()

    @property
    def info(self) -> str:
        """As QEMU's `info network` has it (M-11)."""
        words = [f"ifname={self.device.ifname}"]
        if self.port is not None:
            words.append(f"br={self.port.bridge}")
        if self._scripts.up is not None:
            words.append(f"script={self._scripts.up}" + (" (running)" if self._running else ""))
        if self._scripts.down is not None:
            words.append(f"downscript={self._scripts.down}")
        return ",".join(words)

    def _make_reader(self) -> Callable[[], None]:
        """What to do when the tap has frames: read a burst, then let others run."""
        context, device, vnet = self.context, self.device, self.vnet
        now_ns = context.clock.now_ns
        readinto, buffer = device.readinto, context.read_buffer
        frames, views = buffer.toreadonly(), context.read_views
        header_bytes = VNET_HEADER_BYTES if vnet else 0
        pad_to, least = FRAME_PAD + header_bytes, FRAME_MIN + header_bytes
        zeros = bytes(pad_to)
        budget, full = 1, 0

        def read_burst() -> None:
            # About as many as came the last time: to find out that there are no more takes a system call, for which a
            # single frame's answer would have to wait. What is left over brings us here again at once.
            nonlocal budget, full
            send = self.send
            self._in_burst = True
            start_ns = now_ns() if budget > 1 else 0
            try:
                for number in range(1, budget + 1):
                    size = readinto(buffer)
                    if size is None:
                        budget, full = max(1, number - 1), 0
                        break
                    if size < pad_to:  # C-43
                        if size < least:
                            self.drop(Drop.SHORT)
                            continue
                        buffer[size:pad_to] = zeros[size:]
                        size = pad_to
                    frame = views.get(size)
                    if frame is None:
                        frame = frames[:size]
                        if size <= VIEWS_KEPT:
                            views[size] = frame
                    if not send(frame):
                        self._reading = False
                        self._watch.readable(False)
                        break
                else:
                    full += 1
                    if full == FULL_BURSTS:
                        budget, full = min(2 * budget, context.burst_frames), 0
            except OSError as error:
                remedy = "the interface was deleted" if error.errno == errno.EBADFD else ""
                raise HostError("read from tap", error.errno or 0, device=device.ifname, remedy=remedy) from error
            finally:
                self._in_burst = False
                if self._closed:
                    device.close()
            self.end_burst()
            if start_ns and (took_ns := now_ns() - start_ns) > context.burst_ns:
                budget, full = max(1, budget * context.burst_ns // took_ns), 0

        return read_burst

    def _make_writer(self) -> Callable[[Frame], bool]:
        """`receive`: one frame to the host."""
        write = self.device.write

        def receive(frame: Frame) -> bool:
            try:
                if write(frame) is not None:
                    return True
            except OSError as error:
                self._refused(error)
                return True
            self._watch.writable(True)
            return False

        return receive

    def _on_writable(self) -> None:
        self._watch.writable(False)
        self.flush()

    def _refused(self, error: OSError) -> None:
        """The host did not want a frame. An interface that is gone shows itself in the next read."""
        self.drop(Drop.MALFORMED if error.errno == errno.EINVAL and self.vnet else Drop.HOST_ERROR)
        if error.errno not in ORDINARY and not self._complained:
            self._complained = True
            log.warning("%s: %s refuses frames: %s", self.name, self.device.ifname, error.strerror)

    def _heir(self, port: BridgePort) -> BridgePort | None:
        """Another tap of this network in the same bridge."""
        others = (client for client in self.context.network.clients.values() if isinstance(client, TapClient))
        for other in others:
            if not other._closed and other.port is not None and other.port.bridge == port.bridge:
                return other.port
        return None
