"""Owner marks: a text that says who, and when its process counts as dead."""

from __future__ import annotations

import os
import subprocess
import sys

import attrs
import pytest

from etherloom.owner import Mark


def mark_of_an_ended_process() -> Mark:
    child = "from etherloom.owner import Mark; print(Mark.mine())"
    done = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True)
    mark = Mark.parse(done.stdout.strip())
    assert mark is not None
    return mark


def test_a_mark_is_parsed_from_its_text() -> None:
    assert Mark.mine() == Mark.parse(str(Mark.mine()))


def test_the_longest_mark_fits_into_an_alias() -> None:
    """IFALIASZ is 256, with the final NUL."""
    assert len(str(Mark(2**22, 2**64 - 1, 2**32 - 1, "ffffffff"))) < 256


@pytest.mark.parametrize(
    "text",
    [
        "",
        "etherloom",
        "uplink to the office",
        "etherloom pid=1 start=2",
        "etherloom pid=1 start=2 pidns=3",
        "etherloom pid=1 start=2 pidns=3 boot=",
        "etherloom pid=-1 start=2 pidns=3 boot=01234567",
        "etherloom pid=1 start=2 pidns=3 boot=0123456g",
        "etherloom pid=1 start=2 pidns=3 boot=01234567 and more",
        "etherloom pid=\N{SUPERSCRIPT TWO} start=2 pidns=3 boot=01234567",
        "other pid=1 start=2 pidns=3 boot=01234567",
    ],
)
def test_any_other_text_is_no_mark(text: str) -> None:
    assert Mark.parse(text) is None


def test_a_running_process_is_not_dead() -> None:
    assert not Mark.mine().dead


def test_an_ended_process_is_dead() -> None:
    assert mark_of_an_ended_process().dead


def test_a_process_whose_id_is_another_one_s_now_is_dead() -> None:
    assert attrs.evolve(Mark.mine(), start=Mark.mine().start - 1).dead


def test_an_id_that_no_process_can_have_is_dead() -> None:
    assert attrs.evolve(Mark.mine(), pid=2**80).dead


def test_a_process_of_another_pid_namespace_is_not_dead() -> None:
    ended = mark_of_an_ended_process()
    assert not attrs.evolve(ended, namespace=ended.namespace + 1).dead


def test_a_process_of_another_boot_is_dead_whatever_its_pid_namespace() -> None:
    mine = Mark.mine()
    another = "00000000" if mine.boot != "00000000" else "00000001"
    assert [True, True] == [
        attrs.evolve(mine, boot=another, namespace=namespace).dead for namespace in (mine.namespace, mine.namespace + 1)
    ]


def test_a_process_that_may_be_signalled_by_nobody_else_is_not_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """kill(2): EPERM says that it is there."""

    def refuse(_pid: int, _signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert not Mark.mine().dead
