"""asyncio's loop, with fd callbacks called straight from its selector.

asyncio turns each ready fd into a handle, queues it and runs it in a context of its own: 5-10 us a wake-up when caches
are cold, which a frame's latency pays on every hop. Here a callback of `add_reader` runs inside `select`, 2 us after
the kernel said so, and the fds are looked at again before asyncio has its turn: what a write caused, such as the answer
of the kernel behind a tap, is often there already. Everything else is asyncio's: timers, tasks, transports, signals.

Only public interfaces are used: a selector passed to `SelectorEventLoop`, and `add_reader` and its siblings overridden.
Differs from asyncio's own in one thing: a callback sees the loop's context variables, not those of its registration.
"""

from __future__ import annotations

import asyncio
import select
import selectors
from collections.abc import Callable, Mapping
from os import sched_yield
from time import monotonic_ns
from typing import Any, TypeVarTuple, Unpack, cast

from etherloom.loop.clock import POLLING_HELPS

__all__ = ["DirectLoop", "DirectSelector"]

# How often fds are looked at before asyncio's own turn: enough for a frame to cross a few taps and be answered, and at
# 64 frames a callback no more than some milliseconds under full load.
ROUNDS = 4
EVENTS_MAX = 64

# How long to look for the next event before going to sleep, where the last ones came and were served within SOON_NS: to
# be woken takes about as long, and whoever sends the next frame pays for waking us.
SPIN_NS = 50_000
SOON_NS = 100_000

# Time-outs below this are slept in microseconds; epoll's own are whole milliseconds, rounded up.
SHORT_S = 0.005
FD_SETSIZE = 1024  # select(2): it takes no greater fd

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
Callback = Callable[[], object]
Args = TypeVarTuple("Args")


class DirectSelector(selectors.BaseSelector):
    """An epoll selector that serves some fds itself and reports the others to asyncio."""

    def __init__(self) -> None:
        self.failed: Callable[[Exception], None] | None = None  # whom to tell of a callback that raised
        self._epoll = select.epoll()
        self.spin_until_ns = 0  # do not sleep before; of `monotonic_ns`
        self._spin_ns = 0
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._map = _Map(self._keys)
        self._direct: dict[int, tuple[Callback | None, Callback | None]] = {}

    # What asyncio asks for ----------------------------------------------------------------------------------------

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """See `selectors.BaseSelector`."""
        fd = _fileno(fileobj)
        if fd in self._keys:
            raise KeyError(f"{fileobj!r} (FD {fd}) is already registered")
        key = self._keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        self._epoll.register(fd, _mask(events))
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """See `selectors.BaseSelector`."""
        key = self._keys.pop(_fileno(fileobj))
        self._forget(key.fd)
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """See `selectors.BaseSelector`."""
        fd = _fileno(fileobj)
        key = self._keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        self._epoll.modify(fd, _mask(events))
        return key

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """See `selectors.BaseSelector`."""
        return self._map

    def close(self) -> None:
        """See `selectors.BaseSelector`."""
        self._epoll.close()
        self._keys.clear()
        self._direct.clear()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Serve the direct fds, several rounds while there is something; return the others that are ready."""
        ready: list[tuple[selectors.SelectorKey, int]] = []
        start = monotonic_ns()
        events = self._wait(-1 if timeout is None else max(0.0, timeout), start)
        came = bool(events)
        for number in range(ROUNDS):
            if number:
                events = self._epoll.poll(0, EVENTS_MAX)
            served = False
            for fd, event in events:
                callbacks = self._direct.get(fd)
                if callbacks is not None:
                    served = True
                    if event == select.EPOLLIN and (reader := callbacks[0]) is not None:
                        try:  # `_serve` for what is nearly always the case
                            reader()
                        except Exception as error:
                            self._tell(error)
                    else:
                        self._serve(fd, event, callbacks)
                elif (key := self._keys.get(fd)) is not None:
                    mask = (WRITE if event & ~select.EPOLLIN else 0) | (READ if event & ~select.EPOLLOUT else 0)
                    ready.append((key, mask & key.events))
            if ready or not served:
                break
        if came and POLLING_HELPS and monotonic_ns() - start < SOON_NS:
            self._spin_ns = SPIN_NS
        return ready

    def _wait(self, timeout: float, start: int) -> list[tuple[int, int]]:
        """The next events. Where the last ones came soon, these may too: then do not go to sleep at once."""
        poll = self._epoll.poll
        end = max(start + self._spin_ns, self.spin_until_ns)
        if timeout and end > start:
            if timeout > 0:
                end = min(end, start + int(timeout * 1e9))
            while monotonic_ns() < end:
                if events := poll(0, EVENTS_MAX):
                    return events
                sched_yield()  # who causes the next event may be queued on this CPU
            self._spin_ns = 0  # in vain: sleep until events come close together again
            if timeout > 0:
                timeout = max(0.0, timeout - (end - start) / 1e9)
        try:
            if 0 < timeout < SHORT_S and self._epoll.fileno() < FD_SETSIZE:
                select.select((self._epoll,), (), (), timeout)
                timeout = 0
            return poll(timeout, EVENTS_MAX)
        except InterruptedError:
            return []

    # What the loop asks for ---------------------------------------------------------------------------------------

    def watch(self, fd: int, reader: Callback | None, writer: Callback | None) -> None:
        """Call these when the fd is readable or writable, or in an error state; None for neither is no watch."""
        events = (READ if reader is not None else 0) | (WRITE if writer is not None else 0)
        if not events:
            if self._direct.pop(fd, None) is not None:
                self._forget(fd)
        elif fd in self._direct:
            self._direct[fd] = reader, writer
            self._epoll.modify(fd, _mask(events))
        else:
            self._epoll.register(fd, _mask(events))
            self._direct[fd] = reader, writer

    def watched(self, fd: int) -> tuple[Callback | None, Callback | None]:
        """The callbacks of an fd."""
        return self._direct.get(fd, (None, None))

    def _serve(self, fd: int, event: int, callbacks: tuple[Callback | None, Callback | None]) -> None:
        reader, writer = callbacks
        try:
            if reader is not None and event & ~select.EPOLLOUT:
                reader()
            # The first may have switched the second off, or closed the fd.
            if writer is not None and event & ~select.EPOLLIN and self.watched(fd)[1] is writer:
                writer()
        except Exception as error:
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        if self.failed is None:
            raise error
        self.failed(error)

    def _forget(self, fd: int) -> None:
        try:
            self._epoll.unregister(fd)
        except OSError:  # closed by its owner before the watch: then epoll has forgotten it already
            pass


class DirectLoop(asyncio.SelectorEventLoop):
    """An asyncio loop for Linux whose `add_reader` and `add_writer` callbacks are direct."""

    def __init__(self) -> None:
        self._fds = DirectSelector()
        super().__init__(self._fds)
        self._fds.failed = lambda error: self.call_exception_handler(
            {"message": "Exception in an fd's callback", "exception": error}
        )

    def keep_polling(self, until_ns: int) -> None:
        """Do not sleep before `monotonic_ns` is `until_ns`."""
        self._fds.spin_until_ns = until_ns

    def add_reader(self, fd: Any, callback: Callable[[Unpack[Args]], Any], *args: *Args) -> None:
        """See `asyncio.loop.add_reader`."""
        number = _fileno(fd)
        self._fds.watch(number, _bound(callback, args), self._fds.watched(number)[1])

    def remove_reader(self, fd: Any) -> bool:
        """See `asyncio.loop.remove_reader`."""
        number = _fileno(fd)
        reader, writer = self._fds.watched(number)
        self._fds.watch(number, None, writer)
        return reader is not None

    def add_writer(self, fd: Any, callback: Callable[[Unpack[Args]], Any], *args: *Args) -> None:
        """See `asyncio.loop.add_writer`."""
        number = _fileno(fd)
        self._fds.watch(number, self._fds.watched(number)[0], _bound(callback, args))

    def remove_writer(self, fd: Any) -> bool:
        """See `asyncio.loop.remove_writer`."""
        number = _fileno(fd)
        reader, writer = self._fds.watched(number)
        self._fds.watch(number, reader, None)
        return writer is not None


class _Map(Mapping[Any, selectors.SelectorKey]):
    """Keys by file object, as asyncio looks them up."""

    def __init__(self, keys: dict[int, selectors.SelectorKey]) -> None:
        self._keys = keys

    def __getitem__(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys[_fileno(fileobj)]

    def __iter__(self) -> Any:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def _fileno(fileobj: Any) -> int:
    return fileobj if isinstance(fileobj, int) else int(fileobj.fileno())


def _mask(events: int) -> int:
    return (select.EPOLLIN if events & READ else 0) | (select.EPOLLOUT if events & WRITE else 0)


def _bound(callback: Callable[[Unpack[Args]], Any], args: tuple[*Args]) -> Callback:
    return (lambda: callback(*args)) if args else cast(Callback, callback)
