"""Hooks tell every loaded plugin, each on its own."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import attrs
import pytest

from etherloom import ContractMismatch, NetClient, NetClientKind, Network
from etherloom.plugins.hookspecs import hookimpl
from etherloom.plugins.registry import Registry
from etherloom.testing import VirtualLoop

if TYPE_CHECKING:
    from core.tests.discovery.conftest import Site
    from etherloom import Context


def row(kind: str, hooks: object) -> NetClientKind:
    def init(options: object, name: str, peer: NetClient | None, context: Context) -> NetClient:
        return NetClient(name, context)

    return NetClientKind(kind=kind, options=object, init=init, summary="", hooks=hooks)


def loaded(*rows: NetClientKind) -> Registry:
    registry = Registry(rows)
    for each in rows:
        registry.row(each.kind)
    return registry


class Diary:
    """Writes down every event it is told of."""

    def __init__(self, name: str = "", pages: list[str] | None = None) -> None:
        self.name = name
        self.pages = pages if pages is not None else []

    @hookimpl
    def net_client_added(self, client: NetClient) -> None:
        self.pages.append(f"{self.name}+{client.name}")

    @hookimpl
    def net_client_removed(self, client: NetClient) -> None:
        self.pages.append(f"{self.name}-{client.name}")

    @hookimpl
    def net_client_failed(self, client: NetClient) -> None:
        self.pages.append(f"{self.name}!{client.name} {client.failure!r}")

    @hookimpl
    def link_changed(self, client: NetClient) -> None:
        self.pages.append(f"{self.name}~{client.name} {'up' if client.link_up else 'down'}")

    @hookimpl
    def network_down(self) -> None:
        self.pages.append(f"{self.name}.")

    @hookimpl
    def clean_host(self) -> list[str]:
        return [f"removed {self.name}"]


class Angry:
    """Raises at whatever it is told."""

    @hookimpl
    def net_client_added(self) -> None:
        raise ZeroDivisionError("added")

    @hookimpl
    def network_down(self) -> None:
        raise ZeroDivisionError("down")

    @hookimpl
    def clean_host(self) -> list[str]:
        raise ZeroDivisionError("clean")


def test_plugins_are_told_what_a_network_tells_its_observers() -> None:
    diary = Diary()
    registry = loaded(row("jute", diary))
    loop = VirtualLoop()
    network = Network(loop)
    network.observers.append(registry.observer)
    client = registry.init("jute", None, "j0", None, network.context)

    network.add(client)
    network.set_link(client, False)
    network.fail(client, OSError("gone"))
    network.remove(client)
    loop.close()

    assert ["+j0", "~j0 down", "!j0 OSError('gone')", "-j0"] == diary.pages


def test_a_broadcast_returns_every_plugins_result_in_the_order_of_loading() -> None:
    registry = loaded(row("jute", Diary("jute")), row("hemp", Diary("hemp")))

    assert [["removed jute"], ["removed hemp"]] == registry.hooks.clean_host()


def test_hooks_of_a_plugin_that_was_not_loaded_are_not_called() -> None:
    registry = Registry([row("jute", Diary("jute")), row("hemp", Diary("hemp"))])
    registry.row("hemp")

    assert [["removed hemp"]] == registry.hooks.clean_host()


def test_describing_loads_every_plugin() -> None:
    registry = Registry([row("jute", Diary("jute")), row("hemp", Diary("hemp"))])
    registry.describe()

    assert [["removed hemp"], ["removed jute"]] == registry.hooks.clean_host()


def test_an_object_that_serves_several_kinds_is_told_once() -> None:
    """pluggy refuses to register one object twice."""
    diary = Diary("both")

    assert [["removed both"]] == loaded(row("jute", diary), row("hemp", diary)).hooks.clean_host()


def test_objects_that_compare_equal_are_told_each() -> None:
    """pluggy takes them for one and the same."""

    @attrs.frozen
    class Equal:
        @hookimpl
        def clean_host(self) -> list[str]:
            return ["removed"]

    assert [["removed"], ["removed"]] == loaded(row("jute", Equal()), row("hemp", Equal())).hooks.clean_host()


def test_an_unhashable_object_can_have_hooks() -> None:
    """pluggy puts plugins into sets here and there."""

    @attrs.define
    class Unhashable:
        @hookimpl
        def clean_host(self) -> list[str]:
            return ["removed"]

    assert [["removed"]] == loaded(row("jute", Unhashable())).hooks.clean_host()


def test_a_module_can_have_hooks(site: Site) -> None:
    source = (
        "import sys\nfrom etherloom.plugins.hookspecs import hookimpl\n"
        "@hookimpl\ndef clean_host(): return ['removed']\n"
        "JUTE = row('jute', hooks=sys.modules[__name__])\n"
    )
    site.install("weave", {"jute": "JUTE"}, source=source)
    registry = site.registry()
    registry.row("jute")

    assert [["removed"]] == registry.hooks.clean_host()


@pytest.mark.parametrize("order", [("angry", "jute"), ("jute", "angry")])
def test_a_hook_that_raises_keeps_no_other_from_being_called(order: tuple[str, str]) -> None:
    """In a pluggy manager of all plugins, the rest would not hear of it."""
    diary = Diary("jute")
    registry = loaded(*(row(kind, Angry() if kind == "angry" else diary) for kind in order))

    registry.hooks.network_down(network=None)

    assert ["jute."] == diary.pages
    assert [["removed jute"]] == registry.hooks.clean_host()


def test_a_hook_that_raises_is_logged_with_kind_and_distribution(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    source = (
        "from etherloom.plugins.hookspecs import hookimpl\n"
        "class Angry:\n    @hookimpl\n    def clean_host(self): 1 / 0\n"
        "JUTE = row('jute', hooks=Angry())\n"
    )
    site.install("weave", {"jute": "JUTE"}, source=source, version="1.2")
    registry = site.registry()
    registry.row("jute")

    registry.hooks.clean_host()

    text = "hook clean_host of jute [weave 1.2] raised ZeroDivisionError: division by zero"
    assert [("etherloom", logging.ERROR, text)] == caplog.record_tuples


def test_a_hook_that_raises_does_not_keep_a_client_out() -> None:
    registry = loaded(row("angry", Angry()))
    loop = VirtualLoop()
    network = Network(loop)
    network.observers.append(registry.observer)

    network.add(registry.init("angry", None, "a0", None, network.context))
    loop.close()

    assert ["a0"] == list(network.clients)


def test_a_hook_may_load_another_plugin() -> None:
    class Curious:
        @hookimpl
        def clean_host(self) -> list[str]:
            return registry.kinds() if registry.row("jute") else []

    registry = Registry([row("curious", Curious()), row("jute", Diary("jute"))])
    registry.row("curious")

    assert [["curious", "jute"]] == registry.hooks.clean_host()
    assert [["curious", "jute"], ["removed jute"]] == registry.hooks.clean_host()


class Misspelt:
    @hookimpl(optionalhook=True)
    def moon_phase_changed(self) -> None: ...

    @hookimpl
    def net_client_aded(self) -> None: ...


class ByAnotherName:
    @hookimpl(specname="clean_hots")
    def tidy(self) -> None: ...


class Greedy:
    @hookimpl
    def link_changed(self, client: NetClient, colour: str) -> None: ...


class Unmarked:
    def clean_host(self) -> None: ...


class Maker:
    @hookimpl
    def net_client_init(self) -> None: ...


class Wrapper:
    @hookimpl(wrapper=True)
    def clean_host(self):  # type: ignore[no-untyped-def]
        return (yield)


@pytest.mark.parametrize(
    ("hooks", "right"),
    [
        (Misspelt(), "unknown hook 'net_client_aded'; did you mean 'net_client_added'"),
        (ByAnotherName(), "unknown hook 'clean_hots'; did you mean 'clean_host'?"),
        (Greedy(), "colour"),
        (Unmarked(), "mark each with @hookimpl"),
        (Maker(), "it is the row's `init`"),
        (Wrapper(), "write a plain hook"),
    ],
)
def test_hooks_that_could_not_work_are_refused_with_what_is_right(hooks: object, right: str) -> None:
    """pluggy takes a misspelt hook without a word until check_pending."""
    registry = Registry([row("jute", hooks)])

    with pytest.raises(ContractMismatch) as caught:
        registry.row("jute")

    assert "jute" == caught.value.kind
    assert right in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [] == registry.hooks.clean_host()


def test_a_hook_for_a_later_core_can_be_optional() -> None:
    class Modern:
        @hookimpl(optionalhook=True)
        def moon_phase_changed(self) -> None: ...

    assert "jute" == loaded(row("jute", Modern())).row("jute").kind


def test_a_misspelt_broadcast_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no hook 'clean_hots'"):
        Registry().hooks.clean_hots()
