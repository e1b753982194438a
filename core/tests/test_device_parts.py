"""The kit's reusable parts: EEPROM, PHY, address filter, checksum offload (`etherloom.device`)."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etherloom import ConfigError, HostError
from etherloom.device import Bmcr, Bmsr, Eeprom93c46, MiiPhy, offload
from etherloom.device.filter import CACHE_MAX, AddressFilter, hash_bit
from etherloom.net.offload import complete
from etherloom.net.offload.checksum import checksum, word_sum


def command(part: Eeprom93c46, bits: str) -> list[bool]:
    """Select, clock the bits in, deselect; DO after each rising edge."""
    seen = []
    part.pins(True, False, False)
    for bit in bits:
        part.pins(True, False, bit == "1")
        seen.append(part.pins(True, True, bit == "1"))
    part.pins(True, False, False)
    part.pins(False, False, False)
    return seen


def word_of(part: Eeprom93c46, address: int) -> int:
    bits = command(part, f"110{address:06b}" + "0" * 16)
    return int("".join(str(int(bit)) for bit in bits[9:]), 2)


EWEN, EWDS, ERAL, WRAL = "10011" + "0000", "10000" + "0000", "10010" + "0000", "10001" + "0000"


def test_eeprom_reads_any_word() -> None:
    part = Eeprom93c46(range(0x100, 0x140))
    assert list(range(0x100, 0x140)) == [word_of(part, address) for address in range(64)]


def test_eeprom_pads_and_masks_its_content() -> None:
    part = Eeprom93c46([0x12345])
    assert [0x2345, *[0] * 63] == part.words


def test_eeprom_answers_a_dummy_zero_with_the_last_address_bit() -> None:
    assert command(Eeprom93c46(), "110000000")[-1] is False


def test_eeprom_instructions_take_ewen() -> None:
    part = Eeprom93c46([1, 2, 3])
    for bits in ("101" + f"{1:06b}" + f"{0xBEEF:016b}", "111" + f"{1:06b}", ERAL, WRAL + f"{0xAA:016b}"):
        command(part, bits)
    assert ([1, 2, 3], False) == (part.words[:3], part.changed)


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        ("101" + f"{1:06b}" + f"{0xBEEF:016b}", [1, 0xBEEF, 3]),
        ("111" + f"{1:06b}", [1, 0xFFFF, 3]),
        (ERAL, [0xFFFF] * 3),
        (WRAL + f"{0xAA55:016b}", [0xAA55] * 3),
        ("101" + f"{1:06b}" + "1" * 15, [1, 2, 3]),
        ("101" + f"{1:06b}" + f"{0xBEEF:016b}" + "111", [1, 0xBEEF, 3]),
        ("0000", [1, 2, 3]),
    ],
    ids=["write", "erase", "eral", "wral", "cut short", "too long", "no start"],
)
def test_eeprom_instructions(bits: str, expected: list[int]) -> None:
    part = Eeprom93c46([1, 2, 3])
    command(part, EWEN)
    command(part, bits)
    assert (expected, expected != [1, 2, 3]) == (part.words[:3], part.changed)


def test_eeprom_ewds_disables_again() -> None:
    part = Eeprom93c46()
    for bits in (EWEN, EWDS, ERAL):
        command(part, bits)
    assert [0] * 64 == part.words


def test_eeprom_is_kept_in_a_file(tmp_path: Path) -> None:
    part, path = Eeprom93c46(range(64)), tmp_path / "image"
    assert Eeprom93c46.load(path) is None
    command(part, EWEN)
    command(part, ERAL)
    part.save(path)
    assert ([0xFFFF] * 64, False) == (Eeprom93c46.load(path), part.changed)


def test_eeprom_files_are_refused_with_reason(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(b"short")
    with pytest.raises(ConfigError, match="5 bytes"):
        Eeprom93c46.load(path)
    with pytest.raises(HostError):
        Eeprom93c46.load(tmp_path)
    with pytest.raises(HostError):
        Eeprom93c46().save(tmp_path / "none" / "image")


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), max_size=200))
def test_eeprom_takes_any_sequence_of_pins(sequence: list[tuple[bool, bool, bool]]) -> None:
    part = Eeprom93c46([0xFFFF] * 64)
    for pins in sequence:
        assert part.pins(*pins) in (True, False)
    assert all(0 <= word <= 0xFFFF for word in part.words)
    assert len(part.words) == 64


def test_phy_shows_link_and_negotiation() -> None:
    phy = MiiPhy()
    assert (0x782D, 0x45E1, 1) == (phy.bmsr, phy.anlpar, phy.aner)
    phy.write_bmcr(Bmcr.SPEED_100)
    assert (0x780D, 0, 0) == (phy.bmsr, phy.anlpar, phy.aner)
    phy.link = False
    assert phy.bmsr == 0x7809
    assert not phy.bmsr & Bmsr.LINK


def test_phy_reset_and_restart_clear_themselves() -> None:
    phy = MiiPhy()
    phy.anar = 0x0021
    phy.write_bmcr(Bmcr.AUTONEG | Bmcr.RESTART)
    assert (Bmcr.AUTONEG, 0x0021) == (phy.bmcr, phy.anar)
    phy.write_bmcr(Bmcr.RESET | Bmcr.LOOPBACK)
    assert (Bmcr.AUTONEG | Bmcr.FULL_DUPLEX, 0x01E1) == (phy.bmcr, phy.anar)


@pytest.mark.parametrize(
    ("address", "bit"),
    [
        ("01005e000001", 31),
        ("333300000001", 62),
        ("3333ff123456", 2),
        ("01005e0000fb", 15),
        ("0180c2000000", 25),
    ],
)
def test_multicast_hash_is_what_linux_computes(address: str, bit: int) -> None:
    assert bit == hash_bit(bytes.fromhex(address))


STATION, GROUP, OTHER, ALL = (
    bytes.fromhex(a) for a in ("525400123456", "01005e000001", "525400aaaaaa", "ffffffffffff")
)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ({}, [None, None, None, None]),
        ({"station": True}, [1, None, None, None]),
        ({"multicast": True, "hashes": 1 << 31}, [None, 2, None, None]),
        ({"multicast": True, "hashes": ~(1 << 31)}, [None, None, None, None]),
        ({"hashes": 1 << 31}, [None, None, None, None]),
        ({"broadcast": True}, [None, None, None, 3]),
        ({"everything": True}, [1, 2, 0, 3]),
    ],
)
def test_filter_accepts_and_names_the_kind(accept: dict[str, bool], expected: list[int | None]) -> None:
    filter_ = AddressFilter(station=1, multicast=2, broadcast=3)
    filter_.configure(STATION, **accept)
    assert expected == [filter_.match(address) for address in (STATION, GROUP, OTHER, ALL)]


def test_filter_forgets_with_each_configuration_and_remembers_a_bounded_number() -> None:
    filter_ = AddressFilter(station=1)
    assert filter_.match(STATION) is None
    filter_.configure(STATION, station=True)
    assert [1, 1] == [filter_.match(STATION), filter_.match(STATION)]
    for number in range(3 * CACHE_MAX):
        filter_.match(number.to_bytes(6, "big"))
    assert len(filter_._known) <= CACHE_MAX


def frame(protocol: int, body: bytes, *, version: int = 0x45, fragment: int = 0, total: int | None = None) -> bytes:
    length = 20 + len(body) if total is None else total
    header = struct.pack(
        ">BBHHHBBH4s4s", version, 0, length, 1, fragment, 64, protocol, 0, b"\x0a\0\0\1", b"\x0a\0\0\2"
    )
    return bytes(12) + b"\x08\0" + header + body


def tcp(payload: bytes = b"", words: int = 5) -> bytes:
    return struct.pack(">HHIIBBHHH", 1, 2, 3, 4, words << 4, 0x10, 5, 0, 0) + payload


def udp(payload: bytes = b"") -> bytes:
    return struct.pack(">HHHH", 1, 2, 8 + len(payload), 0) + payload


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (frame(6, tcp(b"abc")), (6, 34, 54, 57)),
        (frame(6, tcp(bytes(20), words=10)), (6, 34, 74, 74)),
        (frame(17, udp(b"ab")), (17, 34, 42, 44)),
        (frame(1, b"x"), (1, 34, 34, 35)),
        (frame(6, b"x", fragment=0x2000), (offload.FRAGMENT, 34, 34, 35)),
        (frame(6, tcp(), version=0x44), None),
        (frame(6, tcp(), version=0x4F), None),
        (frame(6, tcp(), version=0x65), None),
        (frame(6, tcp(), total=41), None),
        (frame(6, tcp(), total=19), None),
        (frame(6, tcp(), total=39), None),
        (frame(6, tcp(words=4)), None),
        (frame(6, tcp(words=6)), None),
        (frame(17, udp(), total=27), None),
        (frame(6, tcp())[:33], None),
        (bytes(12) + b"\x86\xdd" + bytes(60), None),
        (b"", None),
    ],
)
def test_offload_believes_only_lengths_that_agree(data: bytes, expected: tuple[int, int, int, int] | None) -> None:
    found = offload.headers(data)
    assert expected == (None if found is None else found[:4])


@given(st.binary(max_size=80), st.integers(0, 0xFF), st.integers(0, 0xFFFF))
def test_offload_never_finds_anything_outside_the_frame(body: bytes, version: int, total: int) -> None:
    data = frame(6, body, version=version, total=total)
    found = offload.headers(data)
    if found is not None:
        assert 34 <= found.transport <= found.payload <= found.end <= len(data)


@pytest.mark.parametrize(("protocol", "body"), [(6, tcp(b"hello")), (17, udp(b"hello")), (6, tcp()), (17, udp(b"odd"))])
@pytest.mark.parametrize("padding", [b"", bytes(6), b"\xaa\xbb\xcc"])
def test_offload_completes_what_it_then_verifies(protocol: int, body: bytes, padding: bytes) -> None:
    data = bytearray(frame(protocol, body) + padding)
    found = offload.headers(data)
    assert found is not None
    assert not offload.ipv4_ok(bytes(data), found)
    offload.complete_ipv4(data, found)
    header = offload.complete_transport(data, found)
    done = bytes(data) if header is None else next(complete(header.pack() + bytes(data)))
    assert (header is None) == any(padding)
    assert (True, True) == (offload.ipv4_ok(done, found), offload.transport_ok(done, found))
    broken = done[:36] + bytes([done[36] ^ 1]) + done[37:]
    assert not offload.transport_ok(broken, found)


def test_offload_shifts_what_it_asks_for() -> None:
    data = bytearray(frame(6, tcp(bytes(100))))
    found = offload.headers(data)
    assert found is not None
    header = offload.complete_transport(data, found, mss=50, shift=4)
    assert header is not None
    assert (38, 16, 58, 50) == (header.csum_start, header.csum_offset, header.hdr_len, header.gso_size)


def test_a_udp_datagram_without_checksum_is_right() -> None:
    data = frame(17, udp(b"hello"))
    found = offload.headers(data)
    assert found is not None
    assert offload.transport_ok(data, found)


def test_zero_and_ffff_are_the_same_sum() -> None:
    pseudo = word_sum(b"\x0a\0\0\1\x0a\0\0\2") + 17 + 10
    word = checksum(word_sum(udp(b"\0\0")) + pseudo).to_bytes(2, "big")
    data = bytearray(frame(17, udp(word)) + b"\x01")
    found = offload.headers(data)
    assert found is not None
    offload.complete_transport(data, found)
    assert data[40:42] == b"\xff\xff"
