"""MAC addresses: O-21, C-07, U-11."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etherloom.config.mac import Mac, default_macs, machine_id

names = st.lists(st.text(min_size=1), unique=True, max_size=20)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("52:54:00:12:34:56", "52:54:00:12:34:56"),
        ("52-54-00-AB-cd-56", "52:54:00:ab:cd:56"),
        ("2:2:3:4:5:6", "02:02:03:04:05:06"),
        ("0x102030", "00:00:00:10:20:30"),
        ("1056816", "00:00:00:10:20:30"),
        ("0", "00:00:00:00:00:00"),
        ("0xFFFFFF", "00:00:00:ff:ff:ff"),
    ],
)
def test_octets_or_one_number_make_an_address(text: str, written: str) -> None:
    """O-21."""
    assert written == str(Mac.parse(text))


@pytest.mark.parametrize(
    "text", ["", "zz", "2:2:3:4:5", "2:2:3:4:5:6:7", "02020202020202", "2:2:3:4:5:100", "1e3", " 1"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a MAC address"):
        Mac.parse(text)


@pytest.mark.parametrize("text", ["0x1000000", "16777216"])
def test_a_number_beyond_three_octets_is_refused(text: str) -> None:
    """O-21."""
    with pytest.raises(ValueError, match="0xFFFFFF"):
        Mac.parse(text)


@pytest.mark.parametrize("text", ["53:54:00:00:00:01", "ff:ff:ff:ff:ff:ff", "1:0:0:0:0:0"])
def test_a_multicast_address_is_refused(text: str) -> None:
    """O-21."""
    with pytest.raises(ValueError, match="multicast"):
        Mac.parse(text)


@given(st.binary(min_size=6, max_size=6).filter(lambda octets: not octets[0] & 1))
def test_a_written_address_reads_back(octets: bytes) -> None:
    assert Mac(octets) == Mac.parse(str(Mac(octets)))


def test_a_default_is_qemus_prefix_and_three_octets_of_a_hash() -> None:
    """The value itself is a promise: it must not change from release to release."""
    assert {"n0": Mac.parse("52:54:00:4d:f8:5d")} == default_macs(["n0"], machine="m", instance="lab")


def test_instances_differ() -> None:
    """U-11."""
    one = default_macs(["n0"], machine="m", instance="one")
    assert one != default_macs(["n0"], machine="m", instance="two")


def test_machines_differ() -> None:
    """U-11."""
    one = default_macs(["n0"], machine="m", instance="one")
    assert one != default_macs(["n0"], machine="other", instance="one")


@given(names)
def test_defaults_of_one_instance_never_collide(names: list[str]) -> None:
    """C-07."""
    assert len(names) == len(set(default_macs(names, machine="m", instance="lab").values()))


@given(names)
def test_a_given_address_counts_as_used(names: list[str]) -> None:
    """C-07: every address that would have been handed out is taken."""
    used = set(default_macs(names, machine="m", instance="lab").values())
    assert not used & set(default_macs(names, machine="m", instance="lab", used=used).values())


def test_a_nic_keeps_its_address_when_others_come_and_go() -> None:
    alone = default_macs(["n1"], machine="m", instance="lab")
    assert alone["n1"] == default_macs(["n0", "n1", "n2"], machine="m", instance="lab")["n1"]


def test_the_machine_is_known_by_its_machine_id(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("0123\n")
    assert "0123" == machine_id([str(tmp_path / "none"), str(tmp_path / "id")])


def test_a_machine_without_machine_id_goes_by_its_host_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.node", lambda: "host")
    (tmp_path / "empty").write_text("\n")
    assert "host" == machine_id([str(tmp_path / "none"), str(tmp_path / "empty")])
