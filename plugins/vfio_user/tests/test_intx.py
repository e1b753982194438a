"""The INTx scheme: no interrupt is lost, none is stuck, whatever comes in whatever order."""

from __future__ import annotations

from copy import copy

from hypothesis import given
from hypothesis import strategies as st

from etherloom_vfio_user._intx import Action, Intx

EVENTS = ("rise", "fall", "mask", "unmask", "connect", "disconnect", "timer")


class Watched:
    """A line and what its client knows.

    Attributes:
        told: A signal has come since the line rose, the client unmasked, or its trigger is a new one.
        timer: It runs.
    """

    def __init__(self) -> None:
        self.intx = Intx()
        self.told = self.timer = False

    def copy(self) -> Watched:
        other = copy(self)
        other.intx = copy(self.intx)
        return other

    @property
    def state(self) -> tuple[bool, ...]:
        intx = self.intx
        return (intx.line, intx.masked, intx.connected, intx.owed, intx.armed, self.told, self.timer)

    def possible(self, event: str) -> bool:
        """A line that is up does not rise, and a timer that does not run does not end."""
        return {"rise": not self.intx.line, "fall": self.intx.line, "timer": self.timer}.get(event, True)

    def happen(self, event: str) -> Action:
        if event in ("rise", "unmask", "connect"):
            self.told = False
        if event == "timer":
            self.timer = False
        action: Action = getattr(self.intx, event)()
        assert (action is Action.ARM) <= (not self.timer), "a running timer is not started again"
        assert (action is Action.CANCEL) <= self.timer, "only a running timer is cancelled"
        self.told |= action is Action.FIRE
        self.timer = action is Action.ARM or (self.timer and action is not Action.CANCEL)
        return action


def reachable() -> list[tuple[Watched, str, Action, Watched]]:
    """Every transition from every state that any sequence of events leads to."""
    found: list[tuple[Watched, str, Action, Watched]] = []
    waiting, known = [Watched()], {Watched().state}
    while waiting:
        before = waiting.pop()
        for event in filter(before.possible, EVENTS):
            after = before.copy()
            action = after.happen(event)
            found.append((before, event, action, after))
            if after.state not in known:
                known.add(after.state)
                waiting.append(after)
    return found


TRANSITIONS = reachable()


def test_exploration_reaches_more_than_the_obvious_states() -> None:
    """The tests below go through all transitions; were the exploration broken, they would prove nothing."""
    assert {event for _, event, _, _ in TRANSITIONS} == set(EVENTS)
    assert set(Action) == {action for _, _, action, _ in TRANSITIONS}
    assert len(TRANSITIONS) > 50


def test_client_that_listens_to_a_high_line_was_told_or_will_be() -> None:
    for before, event, _, after in TRANSITIONS:
        intx = after.intx
        if intx.line and intx.connected and not intx.masked:
            assert after.told or after.timer, (before.state, event)


def test_signal_is_given_only_for_a_high_line_to_a_client_that_listens() -> None:
    for before, event, action, after in TRANSITIONS:
        if action is Action.FIRE:
            intx = after.intx
            assert (True, True, False) == (intx.line, intx.connected, intx.masked), (before.state, event)


def test_timer_runs_only_while_the_line_is_high_and_the_client_listens() -> None:
    for before, event, _, after in TRANSITIONS:
        if after.timer:
            intx = after.intx
            assert (True, True, False) == (intx.line, intx.connected, intx.masked), (before.state, event)


def test_rise_is_signalled_at_once_without_waiting_for_unmask() -> None:
    line = Watched()
    line.happen("connect")
    assert [Action.FIRE, Action.NOTHING, Action.FIRE] == [line.happen(event) for event in ("rise", "fall", "rise")]


def test_unmask_of_a_low_line_costs_nothing() -> None:
    """cloud-hypervisor says UNMASK after every access."""
    line = Watched()
    line.happen("connect")
    assert Action.NOTHING is line.happen("unmask")


def test_unmask_again_does_not_put_the_timer_off() -> None:
    line = Watched()
    events = ("connect", "rise", "unmask", "unmask", "timer")
    expected = [Action.NOTHING, Action.FIRE, Action.ARM, Action.NOTHING, Action.FIRE]
    assert expected == [line.happen(event) for event in events]


def test_rise_under_mask_is_signalled_at_unmask() -> None:
    line = Watched()
    events = ("connect", "mask", "rise", "unmask")
    assert [Action.NOTHING, Action.NOTHING, Action.NOTHING, Action.FIRE] == [line.happen(event) for event in events]


def test_new_trigger_hears_of_a_line_that_is_high_already() -> None:
    line = Watched()
    line.happen("rise")
    assert [Action.FIRE, Action.FIRE] == [line.happen("connect"), line.happen("connect")]


class Guest:
    """A device, QEMU without KVM, and a driver that reads the status, then acknowledges what it has read.

    Attributes:
        status: The device's interrupt status.
        pin: QEMU holds the guest's pin up.
    """

    def __init__(self) -> None:
        self.line = Watched()
        self.line.happen("connect")
        self.status = self.handled = 0
        self.pin = False
        self.read: int | None = None

    def happen(self, event: str) -> None:
        self.pin |= self.line.happen(event) is Action.FIRE

    def device(self, bit: int) -> None:
        """Something happened."""
        self.status |= bit
        if not self.line.intx.line:
            self.happen("rise")

    def driver(self) -> bool:
        """One access of the interrupt handler. Returns whether it had reason to run."""
        if self.read is None and not self.pin:
            return False
        if self.read is None:
            self.read = self.status
        else:
            self.status &= ~self.read
            self.handled |= self.read
            self.read = None
            if not self.status and self.line.intx.line:
                self.happen("fall")
        if self.pin:  # QEMU's end of interrupt: the first access after the pin went up
            self.pin = False
            self.happen("unmask")
        return True

    def settle(self) -> None:
        while self.driver() or self.line.timer:
            if self.line.timer and not self.pin and self.read is None:
                self.happen("timer")


@given(st.lists(st.sampled_from([1, 2, 4, "driver", "timer"]), max_size=60))
def test_guest_handles_everything_that_ever_happened(steps: list[int | str]) -> None:
    guest = Guest()
    happened = 0
    for step in steps:
        if isinstance(step, int):
            happened |= step
            guest.device(step)
        elif step == "driver":
            guest.driver()
        elif guest.line.timer:
            guest.happen("timer")
    guest.settle()
    assert (happened, 0, False) == (guest.handled, guest.status, guest.line.intx.line)


def test_frame_between_read_and_acknowledgement_is_found_by_the_timer_only() -> None:
    """The case in which a server that signals rises only is stuck for good."""
    guest = Guest()
    guest.device(1)
    guest.driver()  # reads 1, and QEMU says UNMASK
    guest.device(2)  # the line is still up: no rise
    guest.driver()  # acknowledges 1; the line stays up for 2
    assert (False, True) == (guest.pin, guest.line.timer)
    guest.settle()
    assert (3, 0) == (guest.handled, guest.status)
