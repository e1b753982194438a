"""`etherloom plugins` lists what is there and says what is wrong with it."""

from __future__ import annotations

import json
from importlib.metadata import version
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from etherloom.cli import plugins as command
from etherloom.plugins.registry import Registry

if TYPE_CHECKING:
    from core.tests.discovery.conftest import Site


@pytest.fixture
def lab(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A site that `etherloom plugins` takes for all there is."""
    monkeypatch.setattr(command, "Registry", SimpleNamespace(discover=site.registry))
    return site


def listed() -> list[dict[str, Any]]:
    result = CliRunner().invoke(command.plugins, ["--json"], catch_exceptions=False)
    assert 0 == result.exit_code
    plugins: list[dict[str, Any]] = json.loads(result.stdout)["plugins"]
    return plugins


def text() -> list[str]:
    result = CliRunner().invoke(command.plugins, catch_exceptions=False)
    assert 0 == result.exit_code
    return result.stdout.splitlines()


def problems() -> list[tuple[str, str, str]]:
    return [(info["kind"], info["status"], info["problem"]) for info in listed()]


def test_json_is_one_object_with_a_schema(lab: Site) -> None:
    lab.install("weave", {"jute": "JUTE"}, source='JUTE = row("jute", privilege="CAP_WEAVE")', version="1.2")

    result = CliRunner().invoke(command.plugins, ["--json"], catch_exceptions=False)

    jute = {
        "kind": "jute",
        "table": "net_client",
        "distribution": "weave",
        "version": "1.2",
        "generation": "v0",
        "status": "ok",
        "privilege": "CAP_WEAVE",
        "summary": "what jute is",
        "problem": "",
    }
    whole = {"schema": 1, "etherloom": version("etherloom"), "generation": "v0", "plugins": [jute]}
    assert whole == json.loads(result.stdout)


def test_tables_come_in_their_order_and_kinds_sorted(lab: Site) -> None:
    lab.install("weave", {"jute": "JUTE", "hemp": "HEMP"})
    lab.install("aloe", {"coir": "COIR"}, group="etherloom.nic_model.v0")

    assert ["hemp", "jute", "coir"] == [info["kind"] for info in listed()]


def test_a_failed_import_is_listed_with_its_reason(lab: Site) -> None:
    lab.install("weave", {"jute": "JUTE"}, source="1 / 0")

    reason = "'jute' (weave:JUTE) cannot be imported: ZeroDivisionError: division by zero [weave 1.0]"
    assert [("jute", "failed", reason)] == problems()


def test_a_misspelt_hook_is_listed_with_the_closest(lab: Site) -> None:
    source = (
        "from etherloom.plugins.hookspecs import hookimpl\n"
        "class Hooks:\n    @hookimpl\n    def clean_hots(self): pass\n"
        "JUTE = row('jute', hooks=Hooks())\n"
    )
    lab.install("weave", {"jute": "JUTE"}, source=source)

    reason = "hooks of kind 'jute': unknown hook 'clean_hots'; did you mean 'clean_host'? [weave 1.0]"
    assert [("jute", "failed", reason)] == problems()


def test_another_generation_is_listed(lab: Site) -> None:
    lab.install("weave", {"jute": "JUTE"}, group="etherloom.net_client.v1")

    reason = "speaks etherloom.net_client.v1, and this core etherloom.net_client.v0; upgrade etherloom"
    assert [("jute", "other-generation", f"net client 'jute' {reason} [weave 1.0]")] == problems()


def test_a_group_that_is_none_is_listed(lab: Site) -> None:
    lab.install("weave", {"jute": "JUTE"}, group="etherloom.netclient.v0")

    ((kind, status, problem),) = problems()

    assert ("jute", "other-generation") == (kind, status)
    assert "did you mean 'etherloom.net_client.v0'" in problem


def test_both_sides_of_a_conflict_are_listed(lab: Site) -> None:
    lab.install("weave", {"jute": "JUTE"})
    lab.install("loom", {"jute": "JUTE"})

    assert [("loom", "conflict"), ("weave", "conflict")] == [(i["distribution"], i["status"]) for i in listed()]


@pytest.mark.parametrize("group", ["etherloom.net_client.v0", "etherloom.net_client.v9", "etherloom.nonsense"])
def test_a_blocked_plugin_is_listed_and_not_imported(lab: Site, monkeypatch: pytest.MonkeyPatch, group: str) -> None:
    lab.install("weave", {"jute": "JUTE"}, source="1 / 0", group=group)
    monkeypatch.setenv("ETHERLOOM_BLOCK", "weave")

    ((kind, status, problem),) = problems()

    assert ("jute", "blocked") == (kind, status)
    assert "'jute' is blocked by ETHERLOOM_BLOCK, which names 'weave' [weave 1.0]" in problem


def test_text_is_aligned_with_the_problems_below(lab: Site) -> None:
    lab.install("weave", {"jute": "JUTE"}, source='JUTE = row("jute")')
    lab.install("aloe", {"asparagus": "ASPARAGUS"}, source="1 / 0")

    assert [
        "kind       table       distribution  version  generation  privilege  what it is",
        "asparagus  net_client  aloe          1.0      v0          -          FAILED",
        "jute       net_client  weave         1.0      v0          none       what jute is",
        "'asparagus' (aloe:ASPARAGUS) cannot be imported: ZeroDivisionError: division by zero [aloe 1.0]",
    ] == text()


def test_a_terminal_gets_a_table(
    lab: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.install("weave", {"jute": "JUTE"}, source='JUTE = row("jute")')
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "dumb")

    command.plugins.main([], standalone_mode=False)

    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["jute", "net_client", "weave", "1.0", "v0", "none", "what", "jute", "is"] == lines[1]


def test_nothing_installed_says_where_to_start(lab: Site) -> None:
    assert ["no plugins are installed; pip install etherloom-tap etherloom-hub is a start"] == text()


def test_describing_does_not_raise_whatever_is_installed(site: Site) -> None:
    """Every way to be wrong at once."""
    site.install("ok", {"ok": "OK"}, source='OK = row("ok")')
    site.install("exits", {"exits": "EXITS"}, source="raise SystemExit(1)")
    site.install("no-row", {"norow": "__name__"})
    site.install("mute", {"mute": "MUTE"}, source="class Mute:\n    __repr__ = None\nMUTE = Mute()")
    site.install("twice-a", {"twice": "TWICE"})
    site.install("twice-b", {"twice": "TWICE"})
    site.install("later", {"later": "LATER"}, group="etherloom.filter.v7")
    site.install("lost", {"lost": "LOST"}, group="etherloom.somewhere")

    assert [
        ("exits", "failed"),
        ("mute", "failed"),
        ("norow", "failed"),
        ("ok", "ok"),
        ("twice", "conflict"),
        ("twice", "conflict"),
        ("later", "other-generation"),
        ("lost", "other-generation"),
    ] == [(info.kind, info.status.value) for info in Registry.discover([str(site.path)]).describe()]
