"""ETHERLOOM_TRACE shows every hook call."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from etherloom import ConfigError, NetClient, NetClientKind
from etherloom.plugins.hookspecs import hookimpl
from etherloom.plugins.registry import Registry


class Hooks:
    @hookimpl
    def clean_host(self) -> list[str]:
        return ["removed\nall"]

    @hookimpl
    def network_up(self) -> None:
        raise ZeroDivisionError("up")


class Unspeakable:
    def __repr__(self) -> str:
        raise ZeroDivisionError("repr")


def registry() -> Registry:
    def init(options: object, name: str, peer: object, context: object) -> NetClient:
        assert made.hooks.clean_host()
        return NetClient(name, None)  # type: ignore[arg-type]

    made = Registry([NetClientKind(kind="jute", options=object, init=init, summary="", hooks=Hooks())])
    made.row("jute")
    return made


def untimed(text: str) -> list[str]:
    return [re.sub(r" in \d+\.\d us$", " in T", line) for line in text.splitlines()]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ETHERLOOM_TRACE", str(tmp_path / "trace"))
    return tmp_path / "trace"


def test_a_line_has_plugin_hook_arguments_result_and_duration(file: Path) -> None:
    registry().hooks.clean_host()

    assert [
        r"jute [the embedding program]: clean_host() returned [['removed\nall']] in T",
    ] == untimed(file.read_text())


def test_a_hook_that_raises_is_shown_raising(file: Path) -> None:
    registry().hooks.network_up(network=1)

    text = "jute [the embedding program]: network_up(network=1) raised ZeroDivisionError('up') in T"
    assert [text] == untimed(file.read_text())


def test_init_is_shown_with_the_calls_made_within_indented(file: Path) -> None:
    registry().init("jute", 0, "j0", None, None)  # type: ignore[arg-type]

    arguments = "kind='jute', options=0, name='j0', peer=None, context=None"
    assert [
        r"  jute [the embedding program]: clean_host() returned [['removed\nall']] in T",
        f"jute [the embedding program]: net_client_init({arguments}) returned <NetClient j0> in T",
    ] == untimed(file.read_text())


def test_a_hook_that_a_plugin_does_not_implement_is_no_call(file: Path) -> None:
    registry().hooks.network_down(network=None)

    assert "" == file.read_text()


def test_an_argument_that_cannot_be_shown_harms_nobody(file: Path) -> None:
    registry().hooks.network_up(network=Unspeakable())

    assert re.match(r"jute .*: network_up\(network=<Unspeakable instance at 0x\w+>\) raised", file.read_text())


def test_a_file_is_appended_to(file: Path) -> None:
    file.write_text("before\n")
    registry().hooks.clean_host()

    assert ["before", "jute"] == [line.split()[0] for line in file.read_text().splitlines()]


@pytest.mark.parametrize("value", ["1", "stderr"])
def test_standard_error_can_be_asked_for(
    value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ETHERLOOM_TRACE", value)
    registry().hooks.clean_host()

    assert ["jute"] == [line.split()[0] for line in capsys.readouterr().err.splitlines()]


@pytest.mark.parametrize("value", ["", "0"])
def test_it_can_be_off(value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ETHERLOOM_TRACE", value)
    registry().hooks.clean_host()

    assert ("", "") == capsys.readouterr()


def test_a_file_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "missing" / "trace")
    monkeypatch.setenv("ETHERLOOM_TRACE", path)

    with pytest.raises(ConfigError) as caught:
        Registry()

    text = f"ETHERLOOM_TRACE: cannot write {path!r}: No such file or directory (allowed: 1, or a file to append to)"
    assert text == str(caught.value)
