"""The command line's mistakes, its help and its drawings; what runs is in test_cli_run.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner, Result

from etherloom import HostError, NetClientKind
from etherloom.cli import main
from etherloom.config.options import option
from etherloom.plugins.hookspecs import hookimpl
from etherloom.plugins.registry import Registry
from etherloom.testing import MemoryPeer

Run = Callable[..., Result]


@attrs.frozen(kw_only=True)
class MemOptions:
    """Options of the kind `mem`."""

    refuse: bool = option(default=False, help="say that the host refused")
    netdev: str | None = option(default=None, help="peer")


@attrs.frozen(kw_only=True)
class PortOptions:
    """Options of the kind `hubport`."""

    hubid: int = option(help="number of the hub")
    netdev: str | None = option(default=None, help="peer")


class Hooks:
    """A plugin with something to clean, and a list of what was made."""

    made: Sequence[str] = ()
    left_over: Sequence[str] = ()
    refusal: Exception | None = None

    @hookimpl
    def clean_host(self) -> list[str]:
        if self.refusal is not None:
            raise self.refusal
        return list(self.left_over)


@pytest.fixture
def hooks() -> Hooks:
    return Hooks()


@pytest.fixture
def etherloom(monkeypatch: pytest.MonkeyPatch, hooks: Hooks, tmp_path: Path) -> Run:
    """Runs the command with the kinds `mem` and `hubport` installed, in an empty directory."""

    def init_mem(options: MemOptions, name: str, _: object, context: object) -> MemoryPeer:
        if options.refuse:
            raise HostError("open /dev/net/tun", 1, remedy="run as root")
        hooks.made = [*hooks.made, name]
        return MemoryPeer(name, context)  # type: ignore[arg-type]

    def init_port(options: PortOptions, name: str, _: object, context: object) -> MemoryPeer:
        port = MemoryPeer(name, context)  # type: ignore[arg-type]
        port.segment = port.context.segment(options.hubid)
        return port

    rows = [
        NetClientKind(kind="mem", options=MemOptions, init=init_mem, summary="memory", hooks=hooks),
        NetClientKind(kind="hubport", options=PortOptions, init=init_port, summary="a port"),
    ]
    monkeypatch.setattr(Registry, "discover", classmethod(lambda _: Registry(rows)))
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, arguments, prog_name="etherloom")


def test_version_is_the_distributions(etherloom: Run) -> None:
    assert f"etherloom, version {version('etherloom')}\n" == etherloom("--version").output


def test_every_command_that_is_listed_exists_and_explains_itself(etherloom: Run) -> None:
    listed = etherloom("--help").output.partition("Commands:\n")[2]
    names = [line.split()[0] for line in listed.splitlines()]
    assert ["run", "boot", "check", "plugins", "clean"] == names
    assert [0] * len(names) == [etherloom(name, "--help").exit_code for name in names]


def test_run_teaches_with_qemus_arguments(etherloom: Run) -> None:
    assert "-netdev hubport,id=pa,hubid=0,netdev=a" in etherloom("run", "--help").output


def test_an_unknown_command_is_refused(etherloom: Run) -> None:
    assert 2 == etherloom("weave").exit_code


def test_check_draws_what_qemus_arguments_describe_and_makes_nothing(etherloom: Run, hooks: Hooks) -> None:
    result = etherloom("check", "-netdev", "mem,id=a", "-netdev", "hubport,id=p,hubid=3,netdev=a")
    assert (0, "hub 3\n└─ p ── a mem\n") == (result.exit_code, result.stdout)
    assert () == hooks.made


def test_check_draws_what_a_file_describes(etherloom: Run) -> None:
    Path("lab.toml").write_text('[netdev.a]\ntype = "mem"\n[netdev.p]\ntype = "hubport"\nhubid = 3\nnetdev = "a"\n')
    assert "hub 3\n└─ p ── a mem\n" == etherloom("check", "lab.toml").stdout


def test_check_says_on_stderr_what_is_probably_a_mistake(etherloom: Run) -> None:
    """C-09."""
    result = etherloom("check", "-netdev", "mem,id=a")
    assert "etherloom: warning: -netdev mem,id=a: net client 'a' has no peer\n" == result.stderr
    assert 0 == result.exit_code


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to build a network from (allowed: a TOML file, or QEMU's arguments: -netdev tap,id=a)"),
        (["nosuch.toml"], "nosuch.toml: cannot be read: No such file or directory"),
        (["lab.toml", "-netdev"], "'-netdev' beside the file lab.toml (allowed: one file, or arguments, not both)"),
        (
            ["-netdev", "mem,id=a", "-netdev", "hubport,id=p,hubid=0,netdev=b"],
            "-netdev hubport,id=p,hubid=0,netdev=b: netdev: there is no net client 'b' (allowed: a)",
        ),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(
    etherloom: Run, hooks: Hooks, command: str, arguments: list[str], message: str
) -> None:
    result = etherloom(command, *arguments)
    assert (2, "", f"etherloom: {message}\n") == (result.exit_code, result.stdout, result.stderr)
    assert () == hooks.made


def test_help_on_a_kind_is_printed_and_nothing_runs(etherloom: Run, hooks: Hooks) -> None:
    """O-08."""
    result = etherloom("run", "-netdev", "mem,help")
    assert (0, "") == (result.exit_code, result.stderr)
    assert "say that the host refused" in result.stdout
    assert () == hooks.made


def test_json_and_a_table_exclude_each_other(etherloom: Run) -> None:
    result = etherloom("run", "--json", "--table", "-netdev", "mem,id=a")
    assert (2, "etherloom: both --json and --table (allowed: one of them)\n") == (result.exit_code, result.stderr)


def test_a_refusal_of_the_host_is_exit_code_1_and_nothing_is_left(etherloom: Run, hooks: Hooks) -> None:
    result = etherloom("run", "-netdev", "mem,id=a", "-netdev", "mem,id=b,refuse=on")
    refusal = "cannot open /dev/net/tun: Operation not permitted; run as root (-netdev mem,id=b,refuse=on)"
    assert 1 == result.exit_code
    assert f"etherloom: {refusal}" == result.stderr.splitlines()[-1]
    assert ["a"] == hooks.made


def test_of_a_network_that_the_host_refuses_nothing_is_told_but_why(etherloom: Run) -> None:
    """C-09: not even that it has a client without a peer."""
    result = etherloom("run", "-netdev", "mem,id=b,refuse=on")
    refusal = "etherloom: cannot open /dev/net/tun: Operation not permitted; run as root (-netdev mem,id=b,refuse=on)\n"
    assert ("", refusal) == (result.stdout, result.stderr)


def test_run_explains_its_exit_codes(etherloom: Run) -> None:
    said = etherloom("run", "--help").stdout.partition("Exit codes:\n")[2].splitlines()
    assert ["0", "1", "2"] == [line.split()[0] for line in said[:3]]


def test_clean_prints_what_each_plugin_removed(etherloom: Run, hooks: Hooks) -> None:
    hooks.left_over = ["interface tap0 of pid 7", "bridge br0 of pid 7"]
    assert (0, "interface tap0 of pid 7\nbridge br0 of pid 7\n") == (
        etherloom("clean").exit_code,
        etherloom("clean").stdout,
    )


def test_clean_says_so_when_there_is_nothing_to_remove(etherloom: Run) -> None:
    assert "nothing to remove\n" == etherloom("clean").stdout


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (HostError("remove br0", 1, remedy="run as root"), "cannot remove br0: Operation not permitted; run as root"),
        (KeyError("br0"), "KeyError: 'br0'"),
    ],
)
def test_a_clean_that_is_refused_is_one_line_and_exit_code_1(
    etherloom: Run, hooks: Hooks, refusal: Exception, said: str
) -> None:
    hooks.refusal = refusal
    result = etherloom("clean")
    expected = f"etherloom: mem [the embedding program]: {said}\n"
    assert (1, "", expected) == (result.exit_code, result.stdout, result.stderr)


def test_clean_names_a_plugin_that_could_not_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(*_: object) -> MemoryPeer:
        raise AssertionError("cleaning makes no client")

    torn = NetClientKind(kind="torn", options=MemOptions, init=init, summary="its hooks are none", hooks=object())
    monkeypatch.setattr(Registry, "discover", classmethod(lambda _: Registry([torn])))
    result = CliRunner().invoke(main, ["clean"])
    assert (1, "", 1) == (result.exit_code, result.stdout, result.stderr.count("\n"))
    assert result.stderr.startswith("etherloom: not asked: hooks <object object")
