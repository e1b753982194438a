"""What a net client promises, one function each; `etherloom.testing.conformance` runs them all.

A promise's text is its function's docstring. A function gets a `Bench` with a client that is wired and started.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from etherloom.client import FRAME_MAX, FRAME_MIN, VNET_HEADER_BYTES, Offload
from etherloom.net.inlet import inlet_of
from etherloom.testing.conformance import Bench, frame_of, number_of, own
from etherloom.testing.loop import SECOND_NS

__all__ = ["PROMISES", "Promise"]

# Both ends of what is allowed, both sides of Ethernet's minimum and of the usual MTUs, and a full GSO frame.
SIZES = (FRAME_MIN, 15, 59, 60, 61, 1514, 1515, 9014, 65549, FRAME_MAX)

# More than any socket holds by default, so that a client with an outside meets back-pressure.
FLOOD_FRAMES = 4_000


@attrs.frozen
class Promise:
    """One promise: its sentence, how it is checked, and whether that needs an outside."""

    text: str
    check: Callable[[Bench], None]
    needs_far_end: bool


PROMISES: list[Promise] = []


def promise(check: Callable[[Bench], None]) -> Callable[[Bench], None]:
    """Add to `PROMISES` what can be checked of any client."""
    PROMISES.append(Promise(check.__doc__ or "", check, needs_far_end=False))
    return check


def promise_outside(check: Callable[[Bench], None]) -> Callable[[Bench], None]:
    """Add to `PROMISES` what can be checked only with a far end."""
    PROMISES.append(Promise(check.__doc__ or "", check, needs_far_end=True))
    return check


# Form ------------------------------------------------------------------------------------------------------------


@promise
def name_and_context(bench: Bench) -> None:
    """A client keeps the name and the context it was made with."""
    bench.expect(bench.client.name == "client", f"its name is {bench.client.name!r}, not 'client'.")
    bench.expect(bench.client.context is bench.network.context, "its context is another.")


@promise
def info_is_one_line(bench: Bench) -> None:
    """`info` is a str of at most one line, when the client is closed too."""
    for state in ("started", "closed"):
        info: object = bench.client.info
        bench.expect(isinstance(info, str) and "\n" not in info, f"it is {info!r} once {state}.")
        if state == "started":
            bench.network.remove(bench.client)


@promise
def answers_with_a_bool(bench: Bench) -> None:
    """`receive` answers True or False to a frame of any legal length, in bytes or a memoryview."""
    header = bytes(VNET_HEADER_BYTES) if bench.client.vnet else b""
    for size in SIZES if bench.client.segment is None else ():  # a hub port is never sent a frame
        frame = header + frame_of(0, FRAME_MAX)[:size]
        for form in (frame, memoryview(frame)):
            answer: object = bench.client.receive(form)
            bench.expect(answer is True or answer is False, f"it answered {answer!r} to {size} bytes.")
    bench.client.flush()
    bench.loop.advance(SECOND_NS)


@promise
def frames_are_borrowed(bench: Bench) -> None:
    """A frame is borrowed until `receive` returns: a client neither alters it nor keeps it."""
    for number in range(200):
        frame = bench.framed(frame_of(number))
        buffer = bytearray(frame)
        bench.near.send(memoryview(buffer).toreadonly())
        bench.expect(buffer == frame, "it was altered.")
        try:
            buffer.append(0)  # refused while anybody has a view of it
        except BufferError:
            bench.expect(False, "a view of it was kept; copy what you keep with bytes(frame).")
    bench.alive()


# Flow ------------------------------------------------------------------------------------------------------------


@promise
def every_length_is_survived(bench: Bench) -> None:
    """Frames of 0 to 70,000 bytes go in without harm, by ones and in bursts."""
    for size in (0, 1, 13, *SIZES, FRAME_MAX + 1, 70_000):
        bench.near.send_all([bench.framed(frame_of(0, 70_000)[:size])] * 3)
        bench.loop.run_until_idle()
        if bench.far is not None:
            bench.far.take()
    bench.alive()


@promise
def a_flood_never_wedges(bench: Bench) -> None:
    """However many frames come, a client that said False says `flush` later, and all are taken in the end."""
    frames = [bench.framed(frame_of(number)) for number in range(FLOOD_FRAMES)]
    bench.near.send_all(frames)
    for _ in frames:
        bench.loop.advance(SECOND_NS)
        taken = bench.far.take() if bench.far is not None else []
        if not (taken or bench.near.unsent):
            break
    queued = len(inlet_of(bench.client).queue)
    bench.expect(queued == 0, f"{queued} frames stay queued for it.")
    bench.expect(not bench.near.unsent, f"its peer still waits with {len(bench.near.unsent)} frames.")
    bench.alive()


@promise
def resume_is_harmless(bench: Bench) -> None:
    """`resume` and `burst_ended` do no harm when there is nothing to resume and nothing was sent."""
    for method in (bench.client.resume, bench.client.burst_ended) * 2:
        bench.network.call(bench.client, method)
    bench.alive()


@promise
def offloads_are_heeded_quietly(bench: Bench) -> None:
    """`set_offload` takes any setting at any time."""
    for offload in (Offload.ALL, Offload(0), Offload.CSUM, Offload.ALL):
        bench.network.call(bench.client, lambda offload=offload: bench.client.set_offload(offload))  # type: ignore[misc]
    bench.alive()


@promise_outside
def what_is_sent_comes_out(bench: Bench) -> None:
    """What its peer sends comes out of a client whole, in order, and once, or is counted as dropped."""
    sent, came = [], []
    for number in range(200):
        size = min(18 + number * 350, bench.outside.frame_max)
        sent.append(frame_of(number, size))
        buffer = bytearray(bench.framed(sent[-1]))
        bench.near.send(memoryview(buffer).toreadonly())
        buffer[:] = bytes(len(buffer))  # the source's buffer is used again at once
        bench.near.end_burst()
        bench.loop.run_until_idle()
        came += own(bench.outside.take())
    bench.alive()
    came += own(bench.outside.take())
    expect_in_order(bench, sent, came, bench.client.counters.dropped)


@promise_outside
def what_is_put_in_arrives(bench: Bench) -> None:
    """What is put in outside arrives at its peer whole, in order, and once, or is counted as dropped."""
    sent = []
    for number in range(200):
        frame = frame_of(number, min(18 + number * 350, bench.outside.frame_max))
        if bench.outside.put(frame):
            sent.append(frame)
        if number % 3 == 0:  # one wake-up finds several
            bench.loop.run_until_idle()
    bench.alive()
    expect_in_order(bench, sent, bench.heard(), bench.client.counters.dropped)


@promise_outside
def pauses_and_goes_on(bench: Bench) -> None:
    """A client stops its burst when `send` answers False, and goes on after `resume` with nothing lost."""
    bench.near.block()
    sent = []
    for number in range(FLOOD_FRAMES):
        if not bench.outside.put(frame_of(number)):
            break
        sent.append(frame_of(number))
        if number % 16 == 0:
            bench.loop.run_until_idle()
    bench.loop.run_until_idle()
    queued, burst = len(inlet_of(bench.near).queue), bench.network.context.burst_frames
    bench.expect(queued <= burst, f"it sent {queued} frames to a peer that takes none; a burst is {burst}.")
    bench.near.unblock()
    bench.alive()
    expect_in_order(bench, sent, bench.heard(), bench.client.counters.dropped)


# Links and ends --------------------------------------------------------------------------------------------------


@promise
def links_go_down_and_up(bench: Bench) -> None:
    """A client lives through its link going down and up again, also when it is so already (C-50)."""
    for up in (False, False, True, True):
        bench.network.set_link(bench.client, up)
        bench.near.send_all([bench.framed(frame_of(0))] * 5)
        bench.loop.run_until_idle()
    bench.alive()
    passes(bench)


@promise
def peers_come_and_go(bench: Bench) -> None:
    """A client lives without a peer, and goes on with the next one."""
    bench.network.disconnect(bench.client)
    if bench.far is not None:
        bench.far.put(frame_of(0))
    bench.loop.run_until_idle()
    bench.network.connect(bench.client, bench.near)
    bench.alive()
    passes(bench)


@promise
def its_peer_may_vanish_in_mid_burst(bench: Bench) -> None:
    """A client lives through its peer being removed while it takes a frame."""

    def vanish(frame: object) -> bool:
        bench.network.remove(bench.near)
        return True

    bench.near.on_receive = vanish
    for number in range(20):
        if bench.far is not None:
            bench.far.put(frame_of(number))
        bench.near.send_all([bench.framed(frame_of(number))])
    bench.loop.advance(SECOND_NS)
    bench.expect(bench.client.failure is None, f"it was taken down by {bench.client.failure!r}.")


@promise_outside
def its_outside_may_vanish(bench: Bench) -> None:
    """A client lives through its outside going away, and its peer does not wait for it for ever."""
    bench.outside.put(frame_of(0))
    bench.near.send_all([bench.framed(frame_of(0))] * 5)
    bench.outside.vanish()
    for _ in range(10):
        bench.near.send_all([bench.framed(frame_of(0))] * 5)
        bench.loop.advance(SECOND_NS)
    bench.alive()


@promise
def closing_releases_everything(bench: Bench) -> None:
    """A removed client has closed everything, with frames on their way in both directions."""
    bench.near.block()
    if bench.far is not None:
        bench.far.put(frame_of(0))
    bench.near.send_all([bench.framed(frame_of(0))] * 5)
    bench.network.remove(bench.client)
    bench.loop.advance(SECOND_NS)


@promise
def a_failure_closes_it_too(bench: Bench) -> None:
    """A client that was taken down is closed like any other."""
    bench.near.send_all([bench.framed(frame_of(0))] * 5)
    bench.network.fail(bench.client, RuntimeError("the check takes it down"))
    bench.expect(len(bench.errors.lines) == 1, f"this was logged: {bench.errors.lines}.")
    bench.errors.lines.clear()
    bench.loop.advance(SECOND_NS)


def expect_in_order(bench: Bench, sent: list[bytes], came: list[bytes], dropped: int) -> None:
    """`came` is `sent`, in order, perhaps padded to 60 bytes (C-43), less what was counted as dropped."""
    whole = {number_of(frame): frame for frame in sent}
    last = -1
    for frame in came:
        number = number_of(frame)
        expected = whole.get(number, b"")
        bench.expect(frame in (expected, expected.ljust(60, b"\0")), f"frame {number} came changed: {frame[:64]!r}.")
        bench.expect(number > last, f"frame {number} came after frame {last}.")
        last = number
    lost = len(sent) - len(came)
    bench.expect(lost == dropped, f"{lost} of {len(sent)} frames did not come and {dropped} are counted as dropped.")


def passes(bench: Bench) -> None:
    """Traffic passes in both directions, as far as there is an outside to see it."""
    if bench.far is None:
        return
    bench.far.take()
    bench.near.received.clear()
    bench.near.send_all([bench.framed(frame_of(1))])
    bench.outside.put(frame_of(2))
    bench.alive()
    expect_in_order(bench, [frame_of(1)], own(bench.outside.take()), 0)
    expect_in_order(bench, [frame_of(2)], bench.heard(), 0)
