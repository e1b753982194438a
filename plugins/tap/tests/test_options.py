"""Options: QEMU's spelling, what excludes what, what is not supported, and the README's table."""

from __future__ import annotations

from pathlib import Path

import pytest

from etherloom import ConfigError
from etherloom.config.options import Fd, Size, describe, structure
from etherloom_tap import KIND, TapOptions

README = Path(__file__).parents[1] / "README.md"


def flat(**raw: str) -> object:
    return structure(KIND, {key.replace("_", "-"): text for key, text in raw.items()}, origin="-netdev tap", flat=True)


def test_qemus_spelling_is_understood() -> None:
    expected = TapOptions(ifname="t0", script="no", downscript="no", sndbuf=Size(65536), vnet_hdr=True)
    assert expected == structure(
        KIND,
        {"ifname": "t0", "script": "no", "downscript": "no", "sndbuf": "64k", "vnet_hdr": "on"},
        origin="-netdev tap",
        flat=True,
    )
    assert TapOptions(fd=Fd(5)) == flat(fd="5")
    assert TapOptions(br="br0", br_create=True) == flat(br="br0", br_create="on")


@pytest.mark.parametrize(
    "raw",
    [
        {"helper": "/usr/lib/qemu/qemu-bridge-helper"},
        {"fds": "3:4"},
        {"queues": "2"},
        {"vhost": "on"},
        {"vhostfd": "3"},
        {"vhostfds": "3:4"},
        {"vhostforce": "on"},
        {"poll_us": "50"},
    ],
)
def test_what_is_not_supported_yet_says_so(raw: dict[str, str]) -> None:
    key = next(iter(raw)).replace("_", "-")
    with pytest.raises(ConfigError) as caught:
        flat(**raw)
    assert f"-netdev tap: {key}: not supported yet" == str(caught.value)


def test_the_values_that_ask_for_nothing_are_accepted() -> None:
    assert TapOptions() == flat(queues="1", vhost="off", vhostforce="off", poll_us="0")


@pytest.mark.parametrize("key", ["ifname", "script", "downscript"])
def test_fd_excludes_what_was_decided_when_it_was_opened(key: str) -> None:
    """O-81."""
    with pytest.raises(ConfigError, match=rf"-netdev tap: {key}: cannot be combined with fd="):
        flat(fd="5", **{key: "no"})


def test_fd_excludes_vnet_hdr() -> None:
    """O-81: the descriptor has a header or it has not."""
    with pytest.raises(ConfigError, match="vnet_hdr: cannot be combined with fd="):
        TapOptions(fd=Fd(5), vnet_hdr=False)


def test_br_create_needs_a_name() -> None:
    with pytest.raises(ConfigError, match="br-create: needs br=NAME"):
        flat(br_create="on")


def test_the_readme_has_the_options_as_they_are() -> None:
    rows = [f"| `{row.name}` | {row.type} | {row.default} | {row.help} |" for row in describe(KIND)]
    table = "\n".join(["| option | type | default | what |", "|---|---|---|---|", *rows])
    assert table in README.read_text()
