"""What stevedore would get wrong if it were left to choose."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from etherloom import PluginConflict, PluginImportError
from etherloom.plugins.registry import Registry, Status

if TYPE_CHECKING:
    from core.tests.discovery.conftest import Site


def test_two_owners_that_are_not_neighbours_are_a_conflict(site: Site) -> None:
    """stevedore compares neighbours in its list; of others the last wins without a word."""
    site.install("weave", {"hemp": "HEMP", "jute": "JUTE", "ramie": "RAMIE"})
    site.install("loom", {"coir": "COIR", "jute": "JUTE", "sisal": "SISAL"})

    with pytest.raises(PluginConflict):
        site.registry().row("jute")


def test_a_conflict_imports_neither_owner(site: Site) -> None:
    """stevedore has imported both by the time it complains."""
    modules = [site.install(name, {"jute": "JUTE"}) for name in ("weave", "loom")]

    with pytest.raises(PluginConflict):
        site.registry().row("jute")

    assert [] == [module for module in modules if module in sys.modules]


def test_a_row_that_is_false_is_returned_all_the_same(site: Site) -> None:
    """stevedore's `.driver` is `obj or plugin`."""
    source = (
        "class Empty(NetClientKind):\n    __bool__ = lambda self: False\n"
        "JUTE = Empty(kind='jute', options=Options, init=init, summary='nothing')\n"
    )
    site.install("weave", {"jute": "JUTE"}, source=source)

    row = site.registry().row("jute")

    assert ("Empty", False, "nothing") == (type(row).__name__, bool(row), row.summary)


def test_the_distribution_of_what_was_loaded_is_known(site: Site) -> None:
    """stevedore makes its entry points anew, and they have no `dist`."""
    site.install("weave", {"jute": "JUTE"}, source='JUTE = row("jute")', version="3.2.1")

    (info,) = site.registry().describe()

    assert ("weave", "3.2.1", Status.OK) == (info.distribution, info.version, info.status)


def test_a_kind_added_to_an_installed_distribution_is_seen_at_once(site: Site, tmp_path: Path) -> None:
    """stevedore's cache on disk knows a file by its modification time, rounded to two minutes."""
    site.install("weave", {"jute": "JUTE"}, source='JUTE, HEMP = row("jute"), row("hemp")')
    points = site.path / "weave-1.0.dist-info" / "entry_points.txt"
    cache = tmp_path / "cache"
    environment = {**os.environ, "PYTHONPATH": str(site.path), "XDG_CACHE_HOME": str(cache), "HOME": str(cache)}

    def run(program: str) -> str:
        # stevedore writes no cache for an interpreter below /tmp, and this test is about the others
        command = [sys.executable, "-c", f"import sys; sys.executable = '/usr/bin/python3'; {program}"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    run("from stevedore import ExtensionManager; ExtensionManager('etherloom.net_client.v0')")
    assert list(cache.rglob("*")), "stevedore keeps no cache any more: this test shows nothing"
    written = points.stat()
    points.write_text(points.read_text() + "hemp = weave:HEMP\n")
    os.utime(points, ns=(written.st_atime_ns, written.st_mtime_ns))

    program = "from etherloom.plugins.registry import Registry; print(Registry.discover().row('hemp').summary)"
    assert "what hemp is\n" == run(program)


def test_a_distribution_installed_while_running_is_seen_by_the_next_registry(site: Site) -> None:
    """stevedore keeps its entry points in a class attribute for as long as the process lives."""
    site.install("weave", {"jute": "JUTE"}, source='JUTE = row("jute")')
    site.registry().row("jute")
    site.install("loom", {"hemp": "HEMP"}, source='HEMP = row("hemp")')

    assert "what hemp is" == site.registry().row("hemp").summary


def test_a_distribution_that_is_on_the_path_twice_is_no_conflict(second_site: Site, site: Site) -> None:
    """As an editable install beside a regular one; the first on the path counts, as it does for the import."""
    second_site.install("Weave", {"jute": "JUTE"}, version="1.0", source='JUTE = row("jute", privilege="old")')
    site.install("weave", {"jute": "JUTE"}, version="2.0", source='JUTE = row("jute", privilege="new")')

    registry = Registry.discover([str(site.path), str(second_site.path)])

    assert "new" == registry.row("jute").privilege
    assert ["2.0"] == [info.version for info in registry.describe()]


def test_a_failed_import_is_tried_again(site: Site) -> None:
    """What was missing may be there now; nothing is half registered."""
    module = site.install("weave", {"jute": "JUTE"}, source='import late_comer\nJUTE = row("jute")')
    registry = site.registry()
    with pytest.raises(PluginImportError):
        registry.row("jute")

    sys.modules["late_comer"] = sys
    try:
        assert "what jute is" == registry.row("jute").summary
    finally:
        del sys.modules["late_comer"]
    assert module in sys.modules
