"""The scripts, in the way of QEMU's (O-83, O-84, C-79)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from etherloom import ConfigError, HostError, Network
from etherloom.testing import VirtualLoop
from etherloom_tap import TapClient, _scripts
from etherloom_tap._scripts import Scripts
from etherloom_tap.testing import FakeHost

MakeScript = Callable[..., Path]


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    """Where the scripts write what they were run with."""
    diary = tmp_path / "diary"
    diary.touch()
    return diary


@pytest.fixture
def running(tmp_path: Path) -> Path:
    """Where a script can say that it runs, which the loop can wait for."""
    running = tmp_path / "running"
    os.mkfifo(running)
    return running


@pytest.fixture
def script(tmp_path: Path, diary: Path) -> MakeScript:
    """`script("up")` makes a program that notes its name and arguments."""

    def make(name: str, then: str = "exit 0") -> Path:
        path = tmp_path / name
        path.write_text(f'#!/bin/sh\necho {name} "$@" >> {diary}\n{then}\n')
        path.chmod(0o755)
        return path

    return make


def start(loop: VirtualLoop, network: Network, tap: TapClient) -> None:
    """What core does with a new client."""

    async def run() -> None:
        try:
            await tap.start()
        except Exception as error:
            network.fail(tap, error)

    loop.run_until_complete(run())
    loop.run_until_idle()


def test_script_runs_at_start_and_downscript_at_the_end_each_with_the_name(
    network: Network, virtual_loop: VirtualLoop, fake_host: FakeHost, script: MakeScript, diary: Path
) -> None:
    tap = fake_host.tap(network, "a", ifname="t0", script=str(script("up")), downscript=str(script("down")))
    assert "" == diary.read_text()
    start(virtual_loop, network, tap)
    assert "up t0\n" == diary.read_text()
    network.close()
    assert "up t0\ndown t0\n" == diary.read_text()


def test_the_interface_is_still_there_for_the_downscript(
    network: Network, virtual_loop: VirtualLoop, fake_host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    tap = fake_host.tap(network, "a", ifname="t0", downscript="/bin/true")
    start(virtual_loop, network, tap)
    seen: list[list[str]] = []
    monkeypatch.setattr(Scripts, "bring_down", lambda _, __: seen.append(list(fake_host.kernel.interfaces)))
    network.remove(tap)
    assert ([["t0"]], {}) == (seen, fake_host.kernel.interfaces)


def test_downscript_runs_without_a_script(
    network: Network, virtual_loop: VirtualLoop, fake_host: FakeHost, script: MakeScript, diary: Path
) -> None:
    """O-84, as QEMU 7.2 does with script=no."""
    tap = fake_host.tap(network, "a", ifname="t0", script="no", downscript=str(script("down")))
    start(virtual_loop, network, tap)
    network.remove(tap)
    assert "down t0\n" == diary.read_text()


@pytest.mark.parametrize(
    ("then", "ending"), [("exit 3", "exited with status 3"), ("kill -9 $$", "was killed by SIGKILL")]
)
def test_a_script_that_fails_takes_the_tap_down_and_is_not_undone(
    network: Network,
    virtual_loop: VirtualLoop,
    fake_host: FakeHost,
    script: MakeScript,
    diary: Path,
    then: str,
    ending: str,
) -> None:
    """O-83: QEMU refuses the netdev."""
    up = script("up", then)
    tap = fake_host.tap(network, "a", ifname="t0", script=str(up), downscript=str(script("down")))
    start(virtual_loop, network, tap)
    assert isinstance(tap.failure, HostError)
    assert f"cannot bring up t0: {up} {ending}" == str(tap.failure)
    network.close()
    assert "up t0\n" == diary.read_text()


def test_a_script_that_is_gone_when_it_is_due_is_named(
    network: Network, virtual_loop: VirtualLoop, fake_host: FakeHost, script: MakeScript
) -> None:
    up = script("up")
    tap = fake_host.tap(network, "a", ifname="t0", script=str(up))
    up.unlink()
    start(virtual_loop, network, tap)
    expected = f"cannot run {up} for t0: No such file or directory; make it executable, or say script=no"
    assert expected == str(tap.failure)


@pytest.mark.parametrize("key", ["script", "downscript"])
@pytest.mark.parametrize("text", ["/nonexistent", "off", "/", __file__])
def test_what_is_no_executable_file_is_refused_before_anything_is_made(
    network: Network, fake_host: FakeHost, key: str, text: str
) -> None:
    """O-83: QEMU refuses the netdev as well, once the script has failed."""
    with pytest.raises(ConfigError) as caught:
        fake_host.tap(network, "a", ifname="t0", **{key: text})
    assert f"{key}: {text} is no executable file (allowed: the path of one, or no)" == str(caught.value)
    assert {} == fake_host.kernel.interfaces


def test_a_script_s_path_is_relative_to_the_working_directory_and_not_looked_for_in_path(
    script: MakeScript, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    up = script("up")
    monkeypatch.chdir(tmp_path)
    assert Scripts(up=up) == Scripts.chosen("up", "no", defaults=True)
    with pytest.raises(ConfigError, match="script: true is no executable file"):
        Scripts.chosen("true", "no", defaults=True)


def test_a_downscript_that_fails_keeps_nobody_from_closing(
    network: Network,
    virtual_loop: VirtualLoop,
    fake_host: FakeHost,
    script: MakeScript,
    caplog: pytest.LogCaptureFixture,
) -> None:
    down = script("down", "exit 4")
    tap = fake_host.tap(network, "a", ifname="t0", downscript=str(down))
    start(virtual_loop, network, tap)
    network.remove(tap)
    assert f"cannot bring down t0: {down} exited with status 4" in caplog.text
    assert {} == fake_host.kernel.interfaces


def test_a_tap_that_goes_while_its_script_runs_ends_the_script(
    network: Network, virtual_loop: VirtualLoop, fake_host: FakeHost, script: MakeScript, running: Path
) -> None:
    tap = fake_host.tap(network, "a", ifname="t0", script=str(script("up", f"echo >{running}; exec sleep 1000")))
    starting = virtual_loop.create_task(tap.start())
    with running.open("r+b", buffering=0) as said:  # for writing too, or the end of the script's echo were readable
        heard: list[bytes] = []
        virtual_loop.add_reader(said, lambda: heard.append(said.read(80)))
        virtual_loop.run_until(lambda: bool(heard))
        virtual_loop.remove_reader(said)
    assert f"ifname=t0,script={tap._scripts.up} (running)" == tap.info
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        virtual_loop.run_until_complete(starting)


@pytest.mark.parametrize(
    ("options", "runs"),
    [
        ({}, True),
        ({"script": "no", "downscript": "no"}, False),
        ({"script": "", "downscript": ""}, False),
    ],
)
def test_the_default_scripts_run_unless_refused(
    script: MakeScript, monkeypatch: pytest.MonkeyPatch, options: dict[str, str], runs: bool
) -> None:
    monkeypatch.setattr(_scripts, "DEFAULT_UP", script("up"))
    monkeypatch.setattr(_scripts, "DEFAULT_DOWN", script("down"))
    chosen = Scripts.chosen(options.get("script"), options.get("downscript"), defaults=True)
    assert (Scripts(_scripts.DEFAULT_UP, _scripts.DEFAULT_DOWN) if runs else Scripts()) == chosen


def test_a_default_script_that_is_missing_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Differs from QEMU (O-83), which refuses the netdev."""
    monkeypatch.setattr(_scripts, "DEFAULT_UP", tmp_path / "none")
    monkeypatch.setattr(_scripts, "DEFAULT_DOWN", tmp_path / "none")
    assert Scripts() == Scripts.chosen(None, None, defaults=True)


def test_with_an_inherited_descriptor_or_a_bridge_there_are_no_defaults(script: MakeScript) -> None:
    up = script("up")
    assert Scripts(up=up) == Scripts.chosen(str(up), None, defaults=False)
