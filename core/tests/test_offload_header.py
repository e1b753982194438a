"""What `VnetHeader` promises: linux/virtio_net.h's ten bytes, both ways."""

from __future__ import annotations

import struct
import sys

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etherloom.client import VNET_HEADER_BYTES
from etherloom.net.offload import GsoType, MalformedOffload, VnetFlag, VnetHeader

u16 = st.integers(0, 0xFFFF)
headers = st.builds(
    VnetHeader,
    flags=st.integers(0, 255),
    gso_type=st.sampled_from(GsoType),
    ecn=st.booleans(),
    hdr_len=u16,
    gso_size=u16,
    csum_start=u16,
    csum_offset=u16,
)


def test_fields_stand_in_the_kernels_order_in_the_hosts_byte_order() -> None:
    header = VnetHeader(
        flags=VnetFlag.NEEDS_CSUM | VnetFlag.DATA_VALID,
        gso_type=GsoType.TCPV6,
        ecn=True,
        hdr_len=0x0102,
        gso_size=0x0304,
        csum_start=0x0506,
        csum_offset=0x0708,
    )
    little, big = bytes.fromhex("0384 0201 0403 0605 0807"), bytes.fromhex("0384 0102 0304 0506 0708")

    assert (little if sys.byteorder == "little" else big) == header.pack()


def test_header_that_asks_for_nothing_is_zeros() -> None:
    assert bytes(VNET_HEADER_BYTES) == VnetHeader().pack()


@given(headers)
def test_unpack_undoes_pack(header: VnetHeader) -> None:
    assert header == VnetHeader.unpack(header.pack())


@given(headers, st.binary())
def test_what_follows_the_header_is_not_looked_at(header: VnetHeader, frame: bytes) -> None:
    assert header == VnetHeader.unpack(memoryview(header.pack() + frame))


@given(st.binary(max_size=20))
def test_any_bytes_are_unpacked_or_refused(data: bytes) -> None:
    try:
        header = VnetHeader.unpack(data)
    except MalformedOffload:
        return
    assert data[:VNET_HEADER_BYTES] == header.pack()


def test_half_a_header_is_refused() -> None:
    with pytest.raises(MalformedOffload):
        VnetHeader.unpack(bytes(VNET_HEADER_BYTES - 1))


def test_unknown_gso_type_is_refused() -> None:
    with pytest.raises(MalformedOffload):
        VnetHeader.unpack(b"\x00\x02" + bytes(8))


def test_number_out_of_range_is_the_callers_fault() -> None:
    with pytest.raises(struct.error):
        attrs.evolve(VnetHeader(), gso_size=65536).pack()
