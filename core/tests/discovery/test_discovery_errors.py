"""What is said of a kind that cannot be had: kind, distribution, version, and what would have been right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from etherloom import (
    ContractMismatch,
    HostError,
    NetClientKind,
    PluginConflict,
    PluginError,
    PluginImportError,
    PluginNotFound,
)
from etherloom.bundled import DISTRIBUTIONS
from etherloom.plugins.registry import Registry
from etherloom.testing import raises

if TYPE_CHECKING:
    from core.tests.discovery.conftest import Site
    from etherloom import Context


def refusal(registry: Registry, kind: str, table: str = "net_client") -> PluginError:
    with pytest.raises(PluginError) as caught:
        registry.row(kind, table)
    return caught.value


def said(error: PluginError) -> tuple[type[PluginError], str, str, str, str]:
    return type(error), error.kind, error.distribution, error.version, str(error)


def test_a_misspelt_kind_gets_the_closest_names_and_what_is_installed(site: Site) -> None:
    site.install("weave", {"jute": "JUTE", "hemp": "HEMP"})

    text = "there is no net client 'jutte'; did you mean 'jute'?; installed: hemp, jute"
    assert (PluginNotFound, "jutte", "", "", text) == said(refusal(site.registry(), "jutte"))


def test_a_first_party_kind_that_is_missing_gets_the_command_that_installs_it(site: Site) -> None:
    text = "there is no net client 'tap'; it comes with etherloom-tap: pip install etherloom-tap; installed: none"
    assert (PluginNotFound, "tap", "", "", text) == said(refusal(site.registry(), "tap"))


@pytest.mark.parametrize(
    ("kind", "table", "distribution"),
    [
        ("hubport", "net_client", "etherloom-hub"),
        ("rtl8139", "nic_model", "etherloom-rtl8139"),
        ("vfio-user", "guest_bus", "etherloom-vfio-user"),
    ],
)
def test_the_distribution_to_install_is_the_one_that_has_the_kind(
    site: Site, kind: str, table: str, distribution: str
) -> None:
    assert f"pip install {distribution};" in str(refusal(site.registry(), kind, table))


def test_a_misspelt_first_party_kind_that_is_missing_gets_its_name(site: Site) -> None:
    text = "there is no net client 'hubprt'; did you mean 'hubport'? (not installed); installed: none"
    assert text == str(refusal(site.registry(), "hubprt"))


@pytest.mark.parametrize("kind", ["user", "rtl813"])
def test_a_kind_that_is_no_net_client_is_not_proposed_as_one(site: Site, kind: str) -> None:
    """Neither the guest bus vfio-user nor the NIC model rtl8139."""
    assert f"there is no net client {kind!r}; installed: none" == str(refusal(site.registry(), kind))


def test_a_first_party_kind_that_is_installed_and_blocked_is_not_said_to_be_missing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install("etherloom-hub", {"hubport": "HUBPORT"})
    monkeypatch.setenv("ETHERLOOM_BLOCK", "hubport")

    assert "there is no net client 'hubprt'; installed: none" == str(refusal(site.registry(), "hubprt"))


def test_every_distribution_that_is_named_is_one_of_this_repository() -> None:
    plugins = Path(__file__).parents[3] / "plugins"
    there = {f"etherloom-{path.parent.name.replace('_', '-')}" for path in plugins.glob("*/pyproject.toml")}
    assert there == set(DISTRIBUTIONS.values())


def test_a_kind_of_another_table_is_said_to_be_one(site: Site) -> None:
    site.install("weave", {"jute": "JUTE"}, group="etherloom.nic_model.v0")

    text = "'jute' is a NIC model, not a net client [weave 1.0]"
    assert (PluginNotFound, "jute", "weave", "1.0", text) == said(refusal(site.registry(), "jute"))


def test_a_blocked_kind_names_the_variable_and_the_word_in_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("weave", {"jute": "JUTE"})
    monkeypatch.setenv("ETHERLOOM_BLOCK", "hemp,Weave")

    text = "net client 'jute' is blocked by ETHERLOOM_BLOCK, which names 'weave' [weave 1.0]"
    assert (PluginNotFound, "jute", "weave", "1.0", text) == said(refusal(site.registry(), "jute"))


def test_a_kind_that_is_not_allowed_names_the_variable(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("weave", {"jute": "JUTE"})
    monkeypatch.setenv("ETHERLOOM_PLUGINS", "hemp")

    blocked = "blocked by ETHERLOOM_PLUGINS, which names neither the kind nor its distribution"
    assert f"net client 'jute' is {blocked} [weave 1.0]" == str(refusal(site.registry(), "jute"))


def test_two_owners_of_a_kind_are_both_named_with_the_way_to_choose(site: Site) -> None:
    site.install("weave", {"jute": "JUTE"})
    site.install("loom", {"jute": "JUTE"}, version="2.1")

    error = refusal(site.registry(), "jute")

    assert PluginConflict is type(error)
    for part in ("net client 'jute'", "weave 1.0", "loom 2.1", "ETHERLOOM_BLOCK=weave", "ETHERLOOM_BLOCK=loom"):
        assert part in str(error)


@pytest.mark.parametrize(
    ("variable", "value"), [("ETHERLOOM_BLOCK", "loom"), ("ETHERLOOM_PLUGINS", "weave"), ("ETHERLOOM_BLOCK", "LOOM,x")]
)
def test_a_conflict_is_settled_as_the_error_says(
    site: Site, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    site.install("weave", {"jute": "JUTE"}, source='JUTE = row("jute", privilege="weaver")')
    site.install("loom", {"jute": "JUTE"}, source='JUTE = row("jute", privilege="loomer")')
    monkeypatch.setenv(variable, value)

    assert "weaver" == site.registry().row("jute").privilege


def test_two_given_rows_of_one_kind_are_a_conflict() -> None:
    row = NetClientKind(kind="jute", options=object, init=raises(AssertionError()), summary="")

    text = "net client 'jute' is owned by the embedding program and the embedding program"
    assert text == str(refusal(Registry([row, row]), "jute"))


def test_a_failed_import_is_chained_and_names_the_distribution(site: Site) -> None:
    site.install("weave", {"jute": "JUTE"}, source="import no_such_module_at_all")

    error = refusal(site.registry(), "jute")

    cause = "ModuleNotFoundError: No module named 'no_such_module_at_all'"
    text = f"'jute' (weave:JUTE) cannot be imported: {cause} [weave 1.0]"
    assert (PluginImportError, "jute", "weave", "1.0", text) == said(error)
    assert ModuleNotFoundError is type(error.__cause__)


@pytest.mark.parametrize("source", ["assert False", "raise SystemExit(3)", "def broken(:", ""])
def test_whatever_an_import_raises_is_an_import_error(site: Site, source: str) -> None:
    """stevedore lets an AssertionError through where it reports the rest."""
    site.install("weave", {"jute": "JUTE"}, source=source)

    error = refusal(site.registry(), "jute")

    assert PluginImportError is type(error)
    assert error.__cause__ is not None


def test_a_newer_generation_asks_for_a_newer_core(site: Site) -> None:
    site.install("weave", {"jute": "JUTE"}, group="etherloom.net_client.v2")

    spoken = "speaks etherloom.net_client.v2, and this core etherloom.net_client.v0"
    text = f"net client 'jute' {spoken}; upgrade etherloom [weave 1.0]"
    assert (ContractMismatch, "jute", "weave", "1.0", text) == said(refusal(site.registry(), "jute"))


def test_an_older_generation_asks_for_a_newer_plugin(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etherloom.plugins.refusals.GENERATION", "v3")
    monkeypatch.setattr("etherloom.plugins.offers.GENERATION", "v3")
    site.install("weave", {"jute": "JUTE"}, group="etherloom.net_client.v2")

    assert "upgrade weave [weave 1.0]" in str(refusal(site.registry(), "jute"))


def test_a_plugin_may_serve_several_generations(site: Site) -> None:
    site.install("weave", {"jute": "JUTE"}, source='JUTE = row("jute")')
    points = site.path / "weave-1.0.dist-info" / "entry_points.txt"
    points.write_text(points.read_text() + "[etherloom.net_client.v1]\njute = weave:LATER\n")

    assert "jute" == site.registry().row("jute").kind


@pytest.mark.parametrize("group", ["etherloom.net_clients.v0", "etherloom.net_client", "etherloom.net-client.v0"])
def test_a_misspelt_group_gets_the_right_one(site: Site, group: str) -> None:
    site.install("weave", {"jute": "JUTE"}, group=group)

    error = refusal(site.registry(), "jute")

    assert (ContractMismatch, "jute", "weave", "1.0") == said(error)[:4]
    assert f"group {group!r}, which is none; did you mean 'etherloom.net_client.v0'" in str(error)


def test_a_value_that_is_no_row_is_shown(site: Site) -> None:
    site.install("weave", {"jute": "JUTE"}, source='JUTE = "a string"')

    text = "'jute' names 'a string'; right is a NetClientKind, which etherloom.net_client.v0 has for rows [weave 1.0]"
    assert (ContractMismatch, "jute", "weave", "1.0", text) == said(refusal(site.registry(), "jute"))


def test_a_row_of_another_kind_is_refused_with_both_names(site: Site) -> None:
    site.install("weave", {"jute": "HEMP"}, source='HEMP = row("hemp")')

    text = "entry point 'jute' names the row of kind 'hemp'; right is one name for both [weave 1.0]"
    assert (ContractMismatch, "jute", "weave", "1.0", text) == said(refusal(site.registry(), "jute"))


def test_an_error_of_init_names_the_client_and_is_chained(site: Site, context: Context) -> None:
    site.install("weave", {"jute": "JUTE"}, source="def init(*_): 1 / 0\nJUTE = row('jute')")

    with pytest.raises(PluginImportError) as caught:
        site.registry().init("jute", None, "j0", None, context)

    text = "init of 'jute' failed for 'j0': ZeroDivisionError: division by zero [weave 1.0]"
    assert (PluginImportError, "jute", "weave", "1.0", text) == said(caught.value)
    assert ZeroDivisionError is type(caught.value.__cause__)


def test_an_error_that_init_raises_on_purpose_is_passed_on(context: Context) -> None:
    refused = HostError("open it", 13)
    registry = Registry([NetClientKind(kind="jute", options=object, init=raises(refused), summary="")])

    with pytest.raises(HostError) as caught:
        registry.init("jute", None, "j0", None, context)

    assert refused is caught.value


@pytest.mark.parametrize("returned", [None, "a string"])
def test_an_init_that_returns_no_client_is_refused(returned: Any, context: Context) -> None:
    registry = Registry([NetClientKind(kind="jute", options=object, init=lambda *_: returned, summary="")])

    with pytest.raises(ContractMismatch) as caught:
        registry.init("jute", None, "j0", None, context)

    assert f"init of 'jute' returned {returned!r} for 'j0'; right is a NetClient" == str(caught.value)
