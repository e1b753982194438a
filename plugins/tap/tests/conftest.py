"""Two hosts for the same tests: the fake kernel, and the running one in a network namespace of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from etherloom_tap.lab import Lab
from etherloom_tap.testing import FakeHost, Host, RealHost


@pytest.fixture
def fake_host() -> Iterator[FakeHost]:
    """Needs nothing."""
    host = FakeHost()
    yield host
    host.close()


@pytest.fixture
def real_host() -> Iterator[RealHost]:
    """The running kernel; the test is inside a namespace of its own."""
    with Lab() as lab:
        namespace = lab.namespace("tap")
        host = RealHost(namespace)
        with namespace.entered():
            yield host
        host.close()


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.root)])
def host(request: pytest.FixtureRequest) -> Host:
    """Either host."""
    chosen: Host = request.getfixturevalue(f"{request.param}_host")
    return chosen
