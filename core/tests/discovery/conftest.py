"""Installed-looking distributions: dist-info directories and modules that `importlib.metadata` and imports see."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from etherloom import Context, Network
from etherloom.kinds import group_of
from etherloom.plugins.registry import Registry
from etherloom.testing import VirtualLoop

ROW = """\
import attrs
from etherloom import NetClient, NetClientKind, NicModelKind

@attrs.frozen(kw_only=True)
class Options:
    pass

def init(options, name, peer, context):
    return NetClient(name, context)

def row(kind, **fields):
    return NicModelKind(kind=kind, options=Options, init=init, summary=f"what {kind} is", **fields)
"""
"""The start of a plugin's module: `row(kind)` makes a row."""


class Site:
    """A directory of the search path that distributions are installed into."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def install(
        self,
        distribution: str,
        kinds: Mapping[str, str],
        *,
        source: str = "",
        module: str = "",
        version: str = "1.0",
        group: str | None = None,
    ) -> str:
        """Install a distribution.

        Args:
            distribution: Its name.
            kinds: Entry points: kind to the attribute of the module that is its value.
            source: The module's text below `ROW`.
            module: The module's name; from the distribution's by default.
            version: Its version.
            group: The entry points' group; net clients of core's generation by default.

        Returns:
            The module's name.
        """
        module = module or distribution.replace("-", "_").lower()
        (self.path / f"{module}.py").write_text(ROW + source)
        info = self.path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        points = "".join(f"{kind} = {module}:{attribute}\n" for kind, attribute in kinds.items())
        (info / "entry_points.txt").write_text(f"[{group or group_of('net_client')}]\n{points}")
        importlib.invalidate_caches()
        return module

    def registry(self) -> Registry:
        """What is installed here and nowhere else."""
        return Registry.discover([str(self.path)])


@pytest.fixture
def second_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A directory that the search path has after `site`; ask for it before `site`."""
    return _site(tmp_path / "second", monkeypatch)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A directory at the head of the search path; modules imported from it are forgotten afterwards."""
    for variable in ("ETHERLOOM_PLUGINS", "ETHERLOOM_BLOCK", "ETHERLOOM_TRACE"):
        monkeypatch.delenv(variable, raising=False)
    yield _site(tmp_path / "first", monkeypatch)
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(f"{tmp_path}{os.sep}"):
            del sys.modules[name]


@pytest.fixture
def context() -> Iterator[Context]:
    """The context of an empty network."""
    loop = VirtualLoop()
    yield Network(loop).context
    loop.close()


def _site(path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    path.mkdir()
    monkeypatch.syspath_prepend(str(path))
    return Site(path)
