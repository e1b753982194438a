"""`check_net_client` passes what keeps the contract, and catches each way to break it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

import pytest

from etherloom import Context, Drop, Frame, NetClient, Offload
from etherloom.testing import ConformanceError, MemoryPeer, check_net_client

MakeClient = Callable[[str, Context], NetClient]


def made_by(make: MakeClient) -> Callable[[Context, str], NetClient]:
    """A factory of clients whose constructor is all there is to say."""
    return lambda context, name: make(name, context)


class Pair(NetClient):
    """A whole backend: frames over a socketpair that keeps them apart, with back-pressure both ways."""

    def __init__(self, name: str, context: Context) -> None:
        super().__init__(name, context)
        self.inside, self.outside = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.inside.setblocking(False)
        self.outside.setblocking(False)
        self.watch = context.watch_fd(
            self, self.inside.fileno(), on_readable=self.read, on_writable=self.writable_again
        )

    async def start(self) -> None:
        self.watch.readable(True)

    def receive(self, frame: Frame) -> bool:
        try:
            self.inside.send(frame)
        except BlockingIOError:
            self.watch.writable(True)
            return False
        except OSError:
            self.drop(Drop.HOST_ERROR)
        return True

    def writable_again(self) -> None:
        self.watch.writable(False)
        self.flush()

    def read(self) -> None:
        send = self.send
        for _ in range(self.context.burst_frames):
            try:
                frame = self.inside.recv(70_000)
            except BlockingIOError:
                break
            except OSError:
                frame = b""
            if not frame:
                self.watch.readable(False)
                break
            if not send(frame):
                self.watch.readable(False)
                break
        self.end_burst()

    def resume(self) -> None:
        self.watch.readable(True)

    def close(self) -> None:
        self.inside.close()


class PairEnd:
    """The outside of a `Pair`."""

    frame_max = 69_632

    def __init__(self, pair: Pair) -> None:
        self.socket = pair.outside

    def put(self, frame: bytes) -> bool:
        try:
            return self.socket.send(frame) > 0
        except BlockingIOError:
            return False

    def take(self) -> list[bytes]:
        frames = []
        while True:
            try:
                frames.append(self.socket.recv(70_000))
            except BlockingIOError:
                return frames

    def vanish(self) -> None:
        self.socket.close()

    def close(self) -> None:
        self.socket.close()


def end_of(client: NetClient) -> PairEnd:
    assert isinstance(client, Pair)
    return PairEnd(client)


def test_a_client_of_memory_keeps_every_promise_without_an_outside() -> None:
    report = check_net_client(made_by(MemoryPeer))
    assert 13 == len(report.kept)
    assert 4 == len(report.inapplicable)


def test_a_client_with_headers_is_checked_with_and_without_them() -> None:
    wires = []

    class Headed(MemoryPeer):
        def __init__(self, name: str, context: Context) -> None:
            super().__init__(name, context, vnet=True)

        def set_offload(self, offload: Offload) -> None:
            wires.append(offload)

    check_net_client(made_by(Headed))
    assert {Offload.ALL, Offload(0), Offload.CSUM} == set(wires)


def test_a_client_with_an_outside_keeps_every_promise() -> None:
    report = check_net_client(made_by(Pair), end_of)
    assert 17 == len(report.kept)
    assert () == report.inapplicable


def test_a_report_names_each_promise_once() -> None:
    report = check_net_client(made_by(MemoryPeer))
    sentences = [*report.kept, *report.inapplicable]
    assert len(set(sentences)) == len(sentences)
    assert all(sentence.endswith(".") and "\n" not in sentence for sentence in sentences)


# Breakers: each class breaks one promise ---------------------------------------------------------------------------


class Renamed(MemoryPeer):
    def __init__(self, name: str, context: Context) -> None:
        super().__init__(name.upper(), context)


class TwoLines(MemoryPeer):
    @property
    def info(self) -> str:
        return "one\ntwo"


class LengthAnswerer(MemoryPeer):
    def receive(self, frame: Frame) -> bool:
        return len(frame)  # type: ignore[return-value]  # QEMU's convention


class Forgetful(NetClient):
    def receive(self, frame: Frame) -> bool:
        return None  # type: ignore[return-value]


class Keeper(MemoryPeer):
    def __init__(self, name: str, context: Context) -> None:
        super().__init__(name, context)
        self.keep_frames = True


class Raiser(NetClient):
    def receive(self, frame: Frame) -> bool:
        if len(frame) > 60_000:
            raise ValueError("too long for me")
        return True


class NeverFlushes(NetClient):
    left = 100

    def receive(self, frame: Frame) -> bool:
        self.left -= 1
        return self.left > 0


class ResumeRaiser(MemoryPeer):
    def resume(self) -> None:
        raise RuntimeError("not paused")


class OffloadRaiser(MemoryPeer):
    def set_offload(self, offload: Offload) -> None:
        raise RuntimeError("no such offload")


class LinkRaiser(MemoryPeer):
    def link_changed(self) -> None:
        raise RuntimeError("no link")


class CloseRaiser(MemoryPeer):
    def close(self) -> None:
        raise RuntimeError("cannot close")


class StartRaiser(MemoryPeer):
    async def start(self) -> None:
        raise RuntimeError("cannot start")


class FdLeaker(MemoryPeer):
    leaked: list[int] = []  # noqa: RUF012 - of the class, so that the test can close them

    def __init__(self, name: str, context: Context) -> None:
        super().__init__(name, context)
        self.leaked.extend(os.pipe())


class TimerLeaker(MemoryPeer):
    def __init__(self, name: str, context: Context) -> None:
        super().__init__(name, context)
        context.loop.call_later(3600, print)  # the loop's own timer: the context's would be gone with the client


@pytest.mark.parametrize(
    ("make", "promise", "found"),
    [
        (Renamed, "A client keeps the name", "its name is 'CLIENT'"),
        (TwoLines, "`info` is a str", r"it is 'one\\ntwo' once started"),
        (LengthAnswerer, "`receive` answers True or False", "it answered 14 to 14 bytes"),
        (Forgetful, "`receive` answers True or False", "it answered None"),
        (Keeper, "A frame is borrowed", "a view of it was kept"),
        (Raiser, "`receive` answers True or False", "ValueError: too long for me"),
        (NeverFlushes, "However many frames come", "stay queued for it"),
        (ResumeRaiser, "", "not paused"),
        (OffloadRaiser, "`set_offload` takes any setting", "no such offload"),
        (LinkRaiser, "A client lives through its link", "no link"),
        (CloseRaiser, "", "cannot close"),
        (StartRaiser, "", "cannot start"),
        (TimerLeaker, "", "a timer is armed although the client is closed"),
    ],
)
def test_a_broken_promise_is_named_with_what_was_seen(make: MakeClient, promise: str, found: str) -> None:
    with pytest.raises(ConformanceError, match=f"{promise}.* But .*{found}"):
        check_net_client(made_by(make))


def test_an_fd_that_stays_open_is_found() -> None:
    try:
        with pytest.raises(ConformanceError, match=r"file descriptors stayed open: .*pipe"):
            check_net_client(made_by(FdLeaker))
    finally:
        for fd in FdLeaker.leaked:
            os.close(fd)


class Reorders(Pair):
    """Sends the first two of each burst the wrong way round."""

    def read(self) -> None:
        frames = []
        for _ in range(2):
            try:
                frames.append(self.inside.recv(70_000))
            except OSError:
                break
        for frame in reversed(frames):
            self.send(frame)


class IgnoresPause(Pair):
    def read(self) -> None:
        for _ in range(self.context.burst_frames):
            try:
                frame = self.inside.recv(70_000)
            except OSError:
                break
            self.send(frame)


class NeverResumes(Pair):
    def resume(self) -> None:
        pass


class LosesUncounted(Pair):
    def receive(self, frame: Frame) -> bool:
        return len(frame) > 1000 or super().receive(frame)


class Truncates(Pair):
    def receive(self, frame: Frame) -> bool:
        return super().receive(frame[:1514])


@pytest.mark.parametrize(
    ("make", "promise", "found"),
    [
        (Reorders, "What is put in outside", "came after frame"),
        (IgnoresPause, "A client stops its burst", "frames to a peer that takes none"),
        (NeverResumes, "A client stops its burst", "did not come and 0 are counted"),
        (LosesUncounted, "What its peer sends comes out", "did not come and 0 are counted"),
        (Truncates, "What its peer sends comes out", "came changed"),
    ],
)
def test_a_promise_broken_outside_is_named_with_what_was_seen(make: MakeClient, promise: str, found: str) -> None:
    with pytest.raises(ConformanceError, match=f"{promise}.* But .*{found}"):
        check_net_client(made_by(make), end_of)
