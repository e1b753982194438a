"""A kind is found by its name, from metadata alone, and only what is asked for is imported."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from etherloom import Context, NetClient, NetClientKind, NicModelKind
from etherloom.plugins.registry import Registry

if TYPE_CHECKING:
    from core.tests.discovery.conftest import Site


def init(options: object, name: str, peer: NetClient | None, context: Context) -> NetClient:
    return NetClient(name, context)


def imported(*modules: str) -> list[str]:
    return [module for module in modules if module in sys.modules]


def test_kinds_are_listed_sorted_and_without_an_import(site: Site) -> None:
    one = site.install("weave-two", {"sisal": "SISAL", "hemp": "HEMP"}, source='raise RuntimeError("imported")')
    two = site.install("weave-one", {"jute": "JUTE"}, source='raise RuntimeError("imported")')

    assert ["hemp", "jute", "sisal"] == site.registry().kinds()
    assert [] == imported(one, two)


def test_a_kind_of_another_table_is_not_listed(site: Site) -> None:
    site.install("weave", {"jute": "JUTE"}, group="etherloom.nic_model.v0")

    registry = site.registry()

    assert ([], ["jute"]) == (registry.kinds(), registry.kinds("nic_model"))


def test_a_row_imports_its_own_plugin_and_no_other(site: Site) -> None:
    wanted = site.install("weave-one", {"jute": "JUTE"}, source='JUTE = row("jute")')
    other = site.install("weave-two", {"hemp": "HEMP"}, source='HEMP = row("hemp")')

    assert "what jute is" == site.registry().row("jute").summary
    assert [wanted] == imported(wanted, other)


def test_a_row_is_the_same_object_each_time(site: Site) -> None:
    site.install("weave", {"jute": "JUTE"}, source='JUTE = row("jute")')
    registry = site.registry()

    assert registry.row("jute") is registry.row("jute")


def test_one_distribution_owns_several_kinds(site: Site) -> None:
    site.install("weave", {"jute": "JUTE", "hemp": "HEMP"}, source='JUTE, HEMP = row("jute"), row("hemp")')
    registry = site.registry()

    assert ["hemp", "jute"] == [registry.row(kind).kind for kind in registry.kinds()]


def test_one_name_can_be_a_kind_in_two_tables(site: Site) -> None:
    site.install("weave", {"jute": "JUTE"}, source='JUTE = row("jute", privilege="wire")')
    site.install("loom", {"jute": "JUTE"}, group="etherloom.nic_model.v0", source='JUTE = row("jute", privilege="bus")')
    registry = site.registry()

    assert ["wire", "bus"] == [registry.row("jute", table).privilege for table in ("net_client", "nic_model")]


def test_given_rows_need_no_distribution() -> None:
    jute = NetClientKind(kind="jute", options=object, init=init, summary="")
    hemp = NicModelKind(kind="hemp", options=object, init=init, summary="")
    registry = Registry([jute], nic_models=[hemp])

    assert (["jute"], ["hemp"]) == (registry.kinds(), registry.kinds("nic_model"))
    assert jute is registry.row("jute")
    assert hemp is registry.row("hemp", "nic_model")


def test_the_search_path_is_pythons_by_default(site: Site) -> None:
    site.install("weave", {"test-discovery-jute": "JUTE"})

    assert "test-discovery-jute" in Registry.discover().kinds()


def test_a_broken_distribution_does_not_hide_the_others(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.install("weave", {"jute": "JUTE"})
    broken = site.path / "broken-1.0.dist-info"
    broken.mkdir()
    (broken / "entry_points.txt").write_text("[etherloom.net_client.v0]\nno equals sign\n")
    (broken / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")

    assert ["jute"] == site.registry().kinds()
    assert ["WARNING"] == [record.levelname for record in caplog.records]
    assert str(site.path) in caplog.text


def test_a_distribution_without_metadata_does_not_hide_the_others(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """What an uninstall that was interrupted leaves behind."""
    site.install("weave", {"jute": "JUTE"})
    site.install("loom", {"hemp": "HEMP"})
    (site.path / "loom-1.0.dist-info" / "METADATA").unlink()

    assert ["jute"] == site.registry().kinds()
    assert ["WARNING"] == [record.levelname for record in caplog.records]


def test_the_allow_list_takes_kinds_and_distributions(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("Weave_One", {"jute": "JUTE", "hemp": "HEMP"})
    site.install("weave-two", {"sisal": "SISAL", "coir": "COIR"})
    monkeypatch.setenv("ETHERLOOM_PLUGINS", "weave.one, coir,")

    assert ["coir", "hemp", "jute"] == site.registry().kinds()


def test_the_block_list_takes_kinds_and_distributions(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("Weave_One", {"jute": "JUTE", "hemp": "HEMP"})
    site.install("weave-two", {"sisal": "SISAL", "coir": "COIR"})
    monkeypatch.setenv("ETHERLOOM_BLOCK", "weave-one,coir")

    assert ["sisal"] == site.registry().kinds()


def test_the_block_list_wins_over_the_allow_list(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("weave", {"jute": "JUTE", "hemp": "HEMP"})
    monkeypatch.setenv("ETHERLOOM_PLUGINS", "weave")
    monkeypatch.setenv("ETHERLOOM_BLOCK", "hemp")

    assert ["jute"] == site.registry().kinds()


@pytest.mark.parametrize("variable", ["ETHERLOOM_PLUGINS", "ETHERLOOM_BLOCK"])
def test_an_empty_variable_keeps_nothing_out(site: Site, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    site.install("weave", {"jute": "JUTE"})
    monkeypatch.setenv(variable, "")

    assert ["jute"] == site.registry().kinds()


def test_importing_etherloom_imports_no_plugin_library() -> None:
    """Start-up time: each of them is for who asks."""
    heavy = ["stevedore", "pluggy", "importlib.metadata", "rich", "click", "cattrs"]
    program = f"import sys, etherloom; print([name for name in {heavy!r} if name in sys.modules])"

    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "[]\n" == said.stdout


@pytest.mark.parametrize("variable", ["ETHERLOOM_PLUGINS", "ETHERLOOM_BLOCK"])
def test_a_word_that_is_nobodys_name_is_warned_of(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, variable: str
) -> None:
    site.install("Weave_One", {"jute": "JUTE", "hemp": "HEMP"})
    monkeypatch.setenv(variable, "weave.one,jute,hmep")

    site.registry()

    text = f"{variable} names 'hmep', which is no installed kind or distribution; did you mean 'hemp'?"
    assert [("etherloom", logging.WARNING, text)] == caplog.record_tuples
