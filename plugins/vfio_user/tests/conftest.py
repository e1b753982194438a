"""A served device for every test, which has to leave no descriptor behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from etherloom.testing import VirtualLoop
from etherloom_vfio_user.testing import Rig, Style, open_fds


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A served device; a test in which a descriptor is leaked fails."""
    loop = VirtualLoop()
    before = open_fds()
    rig = Rig(loop, tmp_path / "nic.sock")
    yield rig
    rig.close()
    after = open_fds()
    loop.close()
    assert before == after


@pytest.fixture(params=Style, ids=lambda style: style.name.lower())
def style(request: pytest.FixtureRequest) -> Style:
    """Each of the three ways in which clients read."""
    chosen: Style = request.param
    return chosen
