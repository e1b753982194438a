"""What `complete` promises: a sender's unfinished frame leaves as the frames it would have made itself.

The frames it would have made itself are built here whole, with a checksum written from RFC 1071's definition, so every
comparison is of complete frames and independent of the code under test.
"""

from __future__ import annotations

import importlib
import os
import struct
import sys
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etherloom.client import FRAME_MAX, VNET_HEADER_BYTES
from etherloom.net.offload import (
    SEGMENTS_MAX,
    GsoType,
    MalformedOffload,
    VnetFlag,
    VnetHeader,
    complete,
    prepare,
    vector,
)

TCP, UDP = 6, 17
FIN, SYN, PSH, ACK, CWR = 0x01, 0x02, 0x08, 0x10, 0x80
DOT1Q, DOT1AD = b"\x81\x00\x20\x07", b"\x88\xa8\x00\x09"
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION, IPSEC_AH = 0, 43, 44, 60, 51
NEEDS_CSUM = VnetFlag.NEEDS_CSUM
ENDS = {
    4: (b"\x0a\x00\x00\x01", b"\x0a\x00\x00\x02"),
    6: (b"\xfd" + bytes(14) + b"\x01", b"\xfd" + bytes(14) + b"\x02"),
}


@pytest.fixture(scope="module", autouse=True, params=["numpy", "no numpy"])
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """Both ways of summing up."""
    before, vector.numpy = vector.numpy, None
    if request.param == "numpy":
        prepare()
        assert vector.numpy is not None
    yield request.param
    vector.numpy = before


def test_without_numpy_there_is_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector, "numpy", None)
    monkeypatch.setitem(sys.modules, "numpy", None)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    prepare()
    assert (None, "3") == (vector.numpy, os.environ["OPENBLAS_NUM_THREADS"])


def test_a_numpy_that_does_not_run_here_is_none(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def importing(name: str) -> None:
        raise RuntimeError("built for another processor")

    monkeypatch.setattr(vector, "numpy", None)
    monkeypatch.setattr(importlib, "import_module", importing)
    prepare()
    assert vector.numpy is None
    assert "built for another processor" in caplog.text


def folded(data: bytes | bytearray) -> int:
    """RFC 1071 as it is written: add 16-bit words, bring carries around."""
    total = 0
    for high, low in zip(data[::2], (data + b"\x00")[1::2], strict=False):
        total += high << 8 | low
        total = (total & 0xFFFF) + (total >> 16)
    return total


@attrs.frozen(kw_only=True)
class Sample:
    """A packet by its meaning.

    Attributes:
        tags: VLAN tags, outermost first.
        options: IPv4 options, a multiple of four bytes.
        extensions: IPv6 extension headers as (type, bytes without the leading next-header field).
        last_stop: The pseudo header's destination where a routing header makes it another than the IP header's.
        tcp_options: A multiple of four bytes.
    """

    version: int = 4
    protocol: int = TCP
    payload: bytes = b""
    tags: tuple[bytes, ...] = ()
    identification: int = 7
    options: bytes = b""
    extensions: tuple[tuple[int, bytes], ...] = ()
    last_stop: bytes = b""
    sequence: int = 1000
    flags: int = ACK
    tcp_options: bytes = b""

    @property
    def link(self) -> bytes:
        ethertype = b"\x08\x00" if self.version == 4 else b"\x86\xdd"
        return b"\x52\x54\x00\x00\x00\x02" + b"\x52\x54\x00\x00\x00\x01" + b"".join(self.tags) + ethertype

    @property
    def network(self) -> bytes:
        source, destination = ENDS[self.version]
        if self.version == 4:
            first, length = 0x45 + len(self.options) // 4, 20 + len(self.options) + len(self.datagram(0))
            fields = (first, 0x10, length, self.identification, 0x4000, 64, self.protocol)
            header = bytearray(struct.pack(">BBHHHBBH", *fields, 0) + source + destination + self.options)
            struct.pack_into(">H", header, 10, ~folded(header) & 0xFFFF)
            return bytes(header)
        kinds = [kind for kind, _ in self.extensions] + [self.protocol]
        chain = b"".join(bytes([after]) + body for after, (_, body) in zip(kinds[1:], self.extensions, strict=True))
        length = len(chain) + len(self.datagram(0))
        return struct.pack(">IHBB", 0x6ABCDEF0, length, kinds[0], 64) + source + destination + chain

    @property
    def pseudo(self) -> bytes:
        source, destination = ENDS[self.version]
        length = len(self.datagram(0))
        return source + (self.last_stop or destination) + struct.pack(">IHH", length, 0, self.protocol)

    def datagram(self, checksum: int) -> bytes:
        if self.protocol == UDP:
            return struct.pack(">HHHH", 4000, 4001, 8 + len(self.payload), checksum) + self.payload
        offset = (20 + len(self.tcp_options)) << 2
        fields = (4000, 4001, self.sequence, 5555, offset, self.flags, 512, checksum, 0)
        return struct.pack(">HHIIBBHHH", *fields) + self.tcp_options + self.payload

    @property
    def plain(self) -> bytes:
        """The frame as a sender without offloads makes it."""
        checksum = ~folded(self.pseudo + self.datagram(0)) & 0xFFFF
        if self.protocol == UDP:
            checksum = checksum or 0xFFFF
        return self.link + self.network + self.datagram(checksum)

    @property
    def transport_at(self) -> int:
        return len(self.link) + len(self.network)

    @property
    def gso_type(self) -> GsoType:
        return GsoType.UDP_L4 if self.protocol == UDP else GsoType.TCPV4 if self.version == 4 else GsoType.TCPV6

    @property
    def checksum_asked(self) -> VnetHeader:
        offset = 6 if self.protocol == UDP else 16
        return VnetHeader(flags=NEEDS_CSUM, csum_start=self.transport_at, csum_offset=offset)

    def gso_asked(self, size: int) -> VnetHeader:
        return attrs.evolve(
            self.checksum_asked,
            gso_type=self.gso_type,
            gso_size=size,
            ecn=self.protocol == TCP and bool(self.flags & CWR),
        )

    def unfinished(self, header: VnetHeader) -> bytes:
        """The frame as a sender with offloads hands it out, its checksum field seeded as Linux does."""
        return header.pack() + self.link + self.network + self.datagram(folded(self.pseudo))

    def cut(self, size: int) -> list[bytes]:
        """The frames a sender without offloads makes of this packet."""
        starts = range(0, max(len(self.payload), 1), size)
        frames = []
        for index, start in enumerate(starts):
            flags = self.flags & ~(CWR if start else 0) & ~(FIN | PSH if start != starts[-1] else 0)
            piece = attrs.evolve(
                self,
                payload=self.payload[start : start + size],
                sequence=(self.sequence + start) % 2**32,
                identification=(self.identification + index) % 2**16,
                flags=flags if self.protocol == TCP else self.flags,
            )
            frames.append(piece.plain)
        return frames


def pattern(size: int) -> bytes:
    """`size` bytes in which every offset shows."""
    return (bytes(range(251)) * (size // 251 + 1))[:size]


BIG = pattern(4000)
LAST_STOP = b"\xfd" + bytes(14) + b"\x77"
ROUTINGS = {
    "RFC 2460": (ROUTING, b"\x04\x00\x01" + bytes(4) + ENDS[6][1] + LAST_STOP),
    "RFC 6275": (ROUTING, b"\x02\x02\x01" + bytes(4) + LAST_STOP),
    "RFC 8754": (ROUTING, b"\x04\x04\x01" + bytes(4) + LAST_STOP + ENDS[6][1]),
}
NEVER_ENDING = tuple((HOP_BY_HOP, bytes(7)) for _ in range(9))

KINDS = {
    "tcp4": Sample(payload=BIG),
    "tcp6": Sample(version=6, payload=BIG),
    "udp4": Sample(protocol=UDP, payload=BIG),
    "udp6": Sample(version=6, protocol=UDP, payload=BIG),
}
every_kind = pytest.mark.parametrize("sample", KINDS.values(), ids=KINDS)


# Checksums ------------------------------------------------------------------------------------------------------


@every_kind
def test_checksum_is_completed_where_the_header_says(sample: Sample) -> None:
    assert [sample.plain] == list(complete(sample.unfinished(sample.checksum_asked)))


def test_checksum_of_an_odd_number_of_bytes_counts_the_last_byte_as_high() -> None:
    sample = Sample(protocol=UDP, payload=b"\x00\x00\xff")

    assert [sample.plain] == list(complete(sample.unfinished(sample.checksum_asked)))


def test_checksum_of_an_encapsulated_packet_needs_no_look_at_the_outer_headers() -> None:
    inner = Sample(payload=b"inner")
    outer = b"\x00" * 12 + b"\x88\xb5 some tunnel! "
    header = attrs.evolve(inner.checksum_asked, csum_start=len(outer) + inner.transport_at)

    expected = outer + inner.plain

    assert [expected] == list(complete(header.pack() + outer + inner.unfinished(VnetHeader())[VNET_HEADER_BYTES:]))


def zero_sum(sample: Sample) -> Sample:
    """The sample with two bytes of payload that make the checksum of its datagram come out as zero."""
    blank = attrs.evolve(sample, payload=bytes(2))
    return attrs.evolve(sample, payload=struct.pack(">H", ~folded(blank.pseudo + blank.datagram(0)) & 0xFFFF))


def test_udp_checksum_of_zero_is_sent_as_all_ones() -> None:
    sample = zero_sum(Sample(protocol=UDP))

    (frame,) = complete(sample.unfinished(sample.checksum_asked))

    assert (b"\xff\xff", sample.plain) == (frame[sample.transport_at + 6 :][:2], frame)


def test_udp_segment_with_a_checksum_of_zero_is_sent_with_all_ones() -> None:
    sample = zero_sum(Sample(protocol=UDP))

    assert [sample.plain] == list(complete(sample.unfinished(sample.gso_asked(2))))


def test_tcp_segment_with_a_checksum_of_zero_is_sent_with_zero() -> None:
    sample = zero_sum(Sample())

    (frame,) = complete(sample.unfinished(sample.gso_asked(2)))

    assert (b"\x00\x00", sample.plain) == (frame[sample.transport_at + 16 :][:2], frame)


@pytest.mark.parametrize("flags", [VnetFlag(0), VnetFlag.DATA_VALID, VnetFlag.RSC_INFO, VnetFlag(0xF8)])
def test_frame_without_work_left_passes_untouched_whatever_else_its_header_says(flags: VnetFlag) -> None:
    frame = Sample(payload=b"verified").plain
    header = VnetHeader(flags=flags, hdr_len=65535, gso_size=65535, csum_start=65535, csum_offset=65535)

    assert [frame] == list(complete(header.pack() + frame))


def test_ethernet_padding_stays_on_a_frame_that_is_not_cut() -> None:
    sample = Sample(protocol=UDP, payload=b"x")
    padding = bytes(17)

    assert [sample.plain + padding] == list(complete(sample.unfinished(sample.checksum_asked) + padding))


# Segmentation ---------------------------------------------------------------------------------------------------


@every_kind
def test_oversized_packet_leaves_as_the_frames_its_sender_would_have_made(sample: Sample) -> None:
    assert sample.cut(1448) == list(complete(sample.unfinished(sample.gso_asked(1448))))


@every_kind
def test_payload_of_whole_segments_leaves_no_empty_one_behind(sample: Sample) -> None:
    assert [1000] * 4 == [
        len(frame) - len(attrs.evolve(sample, payload=b"").plain)
        for frame in complete(sample.unfinished(sample.gso_asked(1000)))
    ]


@every_kind
def test_segments_of_odd_size_have_right_checksums(sample: Sample) -> None:
    assert sample.cut(333) == list(complete(sample.unfinished(sample.gso_asked(333))))


@every_kind
def test_packet_no_longer_than_a_segment_leaves_whole(sample: Sample) -> None:
    assert [sample.plain] == list(complete(sample.unfinished(sample.gso_asked(4000))))


def test_packet_without_payload_leaves_whole() -> None:
    sample = Sample(flags=FIN | ACK)

    assert [sample.plain] == list(complete(sample.unfinished(sample.gso_asked(100))))


def tcp_flags(sample: Sample, size: int) -> list[int]:
    return [frame[sample.transport_at + 13] for frame in complete(sample.unfinished(sample.gso_asked(size)))]


def test_fin_and_psh_stay_on_the_last_segment() -> None:
    assert [ACK, ACK, ACK, ACK | PSH | FIN] == tcp_flags(Sample(payload=BIG, flags=ACK | PSH | FIN), 1000)


def test_cwr_stays_on_the_first_segment() -> None:
    """RFC 3168 section 6.1.2, VIRTIO_NET_HDR_GSO_ECN."""
    assert [ACK | CWR, ACK, ACK, ACK] == tcp_flags(Sample(payload=BIG, flags=ACK | CWR), 1000)


def test_single_segment_keeps_all_its_flags() -> None:
    assert [ACK | CWR | PSH | FIN] == tcp_flags(Sample(payload=BIG, flags=ACK | CWR | PSH | FIN), 4000)


def test_sequence_number_wraps() -> None:
    sample = Sample(payload=BIG, sequence=2**32 - 1500)

    assert sample.cut(1000) == list(complete(sample.unfinished(sample.gso_asked(1000))))


def test_ip_identification_wraps() -> None:
    sample = Sample(payload=BIG, identification=65534)

    assert sample.cut(1000) == list(complete(sample.unfinished(sample.gso_asked(1000))))


@every_kind
@pytest.mark.parametrize("tags", [(DOT1Q,), (DOT1AD, DOT1Q), (DOT1Q,) * 8], ids=["802.1Q", "802.1ad", "eight"])
def test_every_segment_repeats_the_vlan_tags(sample: Sample, tags: tuple[bytes, ...]) -> None:
    sample = attrs.evolve(sample, tags=tags)

    assert sample.cut(1448) == list(complete(sample.unfinished(sample.gso_asked(1448))))


@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_every_segment_repeats_the_ipv4_options(protocol: int) -> None:
    sample = Sample(protocol=protocol, payload=BIG, options=b"\x94\x04\x00\x00" + b"\x01" * 36)

    assert sample.cut(1448) == list(complete(sample.unfinished(sample.gso_asked(1448))))


def test_every_segment_repeats_the_tcp_options() -> None:
    sample = Sample(payload=BIG, tcp_options=b"\x01\x01\x08\x0a" + pattern(36))

    assert sample.cut(1448) == list(complete(sample.unfinished(sample.gso_asked(1448))))


@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_every_segment_repeats_the_ipv6_extension_headers(protocol: int) -> None:
    extensions = ((HOP_BY_HOP, b"\x00\x05\x02\x00\x00\x01\x00"), (DESTINATION, b"\x01\x01\x0c" + bytes(12)))
    sample = Sample(version=6, protocol=protocol, payload=BIG, extensions=extensions)

    assert sample.cut(1448) == list(complete(sample.unfinished(sample.gso_asked(1448))))


@pytest.mark.parametrize("protocol", [TCP, UDP])
@pytest.mark.parametrize("routing", ROUTINGS.values(), ids=ROUTINGS)
def test_checksum_behind_a_routing_header_counts_the_last_stop_as_destination(
    routing: tuple[int, bytes], protocol: int
) -> None:
    """RFC 8200 section 8.1."""
    sample = Sample(version=6, protocol=protocol, payload=BIG, extensions=(routing,), last_stop=LAST_STOP)

    assert sample.cut(1448) == list(complete(sample.unfinished(sample.gso_asked(1448))))


def test_checksum_behind_a_routing_header_that_is_used_up_counts_the_ip_destination() -> None:
    kind, body = ROUTINGS["RFC 8754"]
    sample = Sample(version=6, payload=BIG, extensions=((kind, body[:2] + b"\x00" + body[3:]),))

    assert sample.cut(1448) == list(complete(sample.unfinished(sample.gso_asked(1448))))


def test_eight_ipv6_extension_headers_are_walked() -> None:
    sample = attrs.evolve(TCP6, extensions=NEVER_ENDING[:8])

    assert sample.cut(1448) == list(complete(sample.unfinished(sample.gso_asked(1448))))


def test_ethernet_padding_is_no_payload_of_a_segment() -> None:
    sample = Sample(payload=b"abcde")

    assert sample.cut(3) == list(complete(sample.unfinished(sample.gso_asked(3)) + b"padding"))


def test_hdr_len_is_not_trusted() -> None:
    sample = Sample(payload=BIG)
    header = attrs.evolve(sample.gso_asked(1448), hdr_len=3)

    assert sample.cut(1448) == list(complete(sample.unfinished(header)))


def test_checksums_of_segments_do_not_depend_on_the_senders_seed() -> None:
    sample = Sample(payload=BIG)
    header = sample.gso_asked(1448).pack() + sample.link + sample.network

    assert sample.cut(1448) == list(complete(header + sample.datagram(0xBAD)))


def test_segmentation_completes_checksums_even_if_the_header_does_not_ask_for_it() -> None:
    sample = Sample(payload=BIG)
    header = attrs.evolve(sample.gso_asked(1448), flags=VnetFlag.DATA_VALID, csum_start=0, csum_offset=0)

    assert sample.cut(1448) == list(complete(sample.unfinished(header)))


def test_memoryview_is_taken_and_bytes_are_given() -> None:
    sample = Sample(payload=BIG)
    frame = memoryview(bytearray(sample.unfinished(sample.gso_asked(1448)))).toreadonly()

    assert {bytes} == {type(segment) for segment in complete(frame)}


def test_as_many_segments_as_allowed_are_made() -> None:
    sample = Sample(payload=pattern(SEGMENTS_MAX))

    assert SEGMENTS_MAX == len(list(complete(sample.unfinished(sample.gso_asked(1)))))


# What is refused ------------------------------------------------------------------------------------------------


def gso(sample: Sample, size: int = 1000, **changes: Any) -> bytes:
    return sample.unfinished(attrs.evolve(sample.gso_asked(size), **changes))


def checksummed(sample: Sample, **changes: Any) -> bytes:
    return sample.unfinished(attrs.evolve(sample.checksum_asked, **changes))


def patched(frame: bytes, at: int, new: bytes) -> bytes:
    """`frame`, header included, with its bytes from `at` (in the Ethernet frame) on replaced."""
    at += VNET_HEADER_BYTES
    return frame[:at] + new + frame[at + len(new) :]


TCP4, TCP6, UDP4, UDP6 = KINDS.values()
SMALL = Sample(payload=b"0123456789")

REFUSED = {
    "no frame": b"",
    "half a virtio-net header": bytes(9),
    "half an Ethernet header": bytes(VNET_HEADER_BYTES + 13),
    "checksum starts behind the frame": checksummed(SMALL, csum_start=2000),
    "checksum starts in the Ethernet header": checksummed(SMALL, csum_start=12),
    "checksum is stored behind the frame": checksummed(SMALL, csum_offset=2000),
    "checksum is stored across the frame's end": checksummed(SMALL, csum_offset=29),
    "segments of no bytes": gso(TCP4, 0),
    "too many segments": gso(Sample(payload=pattern(SEGMENTS_MAX + 1)), 1),
    "checksum of segments starts elsewhere": gso(TCP4, csum_start=38),
    "checksum of segments is stored elsewhere": gso(TCP4, csum_offset=6),
    "type UDP: fragmentation was never offered": gso(UDP4, gso_type=GsoType.UDP),
    "type ECN alone": patched(gso(TCP4), 1 - VNET_HEADER_BYTES, b"\x80"),
    "type UDP_L4 with ECN": gso(UDP4, ecn=True),
    "type unknown": patched(gso(TCP4), 1 - VNET_HEADER_BYTES, b"\x02"),
    "type TCPV4 of an IPv6 frame": gso(TCP6, gso_type=GsoType.TCPV4),
    "type TCPV6 of an IPv4 frame": gso(TCP4, gso_type=GsoType.TCPV6),
    "type TCPV4 of a UDP frame": gso(UDP4, gso_type=GsoType.TCPV4),
    "type TCPV6 of a UDP frame": gso(UDP6, gso_type=GsoType.TCPV6),
    "type UDP_L4 of a TCP frame": gso(TCP6, gso_type=GsoType.UDP_L4),
    "neither IPv4 nor IPv6": patched(gso(TCP4), 12, b"\x08\x06"),
    "too many VLAN tags": gso(attrs.evolve(TCP4, tags=(DOT1Q,) * 9)),
    "VLAN tags to the frame's end": gso(TCP4)[: VNET_HEADER_BYTES + 12] + DOT1Q,
    "half an IPv4 header": gso(TCP4)[: VNET_HEADER_BYTES + 33],
    "IPv4 version field of 6": patched(gso(TCP4), 14, b"\x65"),
    "IPv4 header of 16 bytes": patched(gso(UDP4, csum_start=30), 14, b"\x44"),
    "IPv4 header beyond its packet": patched(gso(TCP4), 14, b"\x4f\x00\x00\x28"),
    "IPv4 total length beyond the frame": gso(TCP4)[:-1],
    "IPv4 total length zero": patched(gso(TCP4), 16, b"\x00\x00"),
    "IPv4 first fragment": patched(gso(TCP4), 20, b"\x20\x00"),
    "IPv4 last fragment": patched(gso(TCP4), 20, b"\x00\x01"),
    "half an IPv6 header": gso(TCP6)[: VNET_HEADER_BYTES + 53],
    "IPv6 version field of 4": patched(gso(TCP6), 14, b"\x40"),
    "IPv6 payload length beyond the frame": gso(TCP6)[:-1],
    "IPv6 jumbogram": patched(gso(TCP6), 18, b"\x00\x00"),
    "IPv6 fragment": gso(attrs.evolve(TCP6, extensions=((FRAGMENT, bytes(7)),))),
    "IPsec": gso(attrs.evolve(TCP6, extensions=((IPSEC_AH, b"\x02" + bytes(14)),))),
    "nine IPv6 extension headers": gso(attrs.evolve(TCP6, extensions=NEVER_ENDING)),
    "half an IPv6 extension header": patched(gso(TCP6), 18, b"\x00\x01\x00")[: VNET_HEADER_BYTES + 55],
    "IPv6 extension header beyond its packet": gso(
        attrs.evolve(SMALL, version=6, extensions=((DESTINATION, b"\xff" + bytes(6)),))
    ),
    "routing header of unknown type": gso(attrs.evolve(TCP6, extensions=((ROUTING, b"\x00\x09\x01" + bytes(4)),))),
    "routing header without its last stop": gso(
        attrs.evolve(TCP6, extensions=((ROUTING, b"\x01\x04\x01" + bytes(12)),))
    ),
    "headers of over 512 bytes": gso(attrs.evolve(TCP6, extensions=((DESTINATION, b"\x3f" + bytes(510)),))),
    "half a TCP header": patched(gso(TCP4), 16, b"\x00\x20")[: VNET_HEADER_BYTES + 46],
    "TCP header of 16 bytes": patched(gso(TCP4), 46, b"\x40"),
    "TCP header beyond its packet": patched(gso(Sample(payload=b"x" * 39)), 46, b"\xf0"),
    "half a UDP header": patched(gso(UDP4), 16, b"\x00\x1b"),
}


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("size", [4, 6, 36, 536, 1000, 1448, 1460, 1461, 6000])
@pytest.mark.parametrize("fill", [bytes(range(256)), b"\xff", b"\x00"], ids=["mixed", "ones", "zeros"])
def test_many_segments(version: int, size: int, fill: bytes) -> None:
    payload = (fill * 60_000)[: min(60_000, 9 * size + 5)]
    sample = Sample(version=version, payload=payload)
    assert sample.cut(size) == list(complete(sample.unfinished(sample.gso_asked(size))))


@pytest.mark.parametrize("frame", REFUSED.values(), ids=REFUSED)
def test_contradiction_is_refused(frame: bytes) -> None:
    with pytest.raises(MalformedOffload):
        complete(frame)


# Any frame ------------------------------------------------------------------------------------------------------

untimed = settings(deadline=None)  # the slow checksum here says nothing about the speed of `complete`

extension_header = st.integers(0, 3).flatmap(
    lambda length: st.tuples(
        st.sampled_from((HOP_BY_HOP, DESTINATION)),
        st.binary(min_size=6 + 8 * length, max_size=6 + 8 * length).map(lambda body: bytes([length]) + body),
    )
)


def words(limit: int) -> st.SearchStrategy[bytes]:
    """Bytes of a length that is a multiple of four, up to `limit`."""
    return st.binary(max_size=limit).map(lambda data: data[: len(data) & ~3])


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    """A TCP or UDP packet that may be segmented."""
    version = draw(st.sampled_from((4, 6)))
    noise = draw(st.binary(min_size=1, max_size=64))
    return Sample(
        version=version,
        protocol=draw(st.sampled_from((TCP, UDP))),
        payload=(noise * 200)[: draw(st.integers(0, 6000))],
        tags=tuple(draw(st.lists(st.sampled_from((DOT1Q, DOT1AD)), max_size=3))),
        identification=draw(st.integers(0, 0xFFFF)),
        options=draw(words(40)) if version == 4 else b"",
        extensions=tuple(draw(st.lists(extension_header, max_size=3))) if version == 6 else (),
        sequence=draw(st.integers(0, 2**32 - 1)),
        flags=draw(st.integers(0, 255)),
        tcp_options=draw(words(40)),
    )


@untimed
@given(samples(), st.integers(24, 3000))
def test_any_packet_leaves_as_the_frames_its_sender_would_have_made(sample: Sample, size: int) -> None:
    assert sample.cut(size) == list(complete(sample.unfinished(sample.gso_asked(size))))


@untimed
@given(samples())
def test_any_packets_checksum_is_completed(sample: Sample) -> None:
    (frame,) = complete(sample.unfinished(sample.checksum_asked))

    covered = sample.pseudo + frame[sample.transport_at :]
    assert (0xFFFF, len(sample.plain)) == (folded(covered), len(frame))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """An unfinished frame with some header bytes replaced, then cut short or not."""
    sample = draw(samples())
    header = attrs.evolve(sample.gso_asked(draw(st.integers(0, 300))), flags=draw(st.integers(0, 1)))
    frame = bytearray(sample.unfinished(header))
    interesting = VNET_HEADER_BYTES + sample.transport_at + 20
    for _ in range(draw(st.integers(1, 4))):
        frame[draw(st.integers(0, min(interesting, len(frame)) - 1))] = draw(st.integers(0, 255))
    return bytes(frame[: draw(st.one_of(st.none(), st.integers(0, len(frame))))])


def completed_or_refused(frame: bytes) -> None:
    try:
        finished = complete(frame)
    except MalformedOffload:
        return
    segments = list(finished)
    size = len(frame) - VNET_HEADER_BYTES
    assert 1 <= len(segments) <= SEGMENTS_MAX
    assert all(14 <= len(segment) <= size for segment in segments)


@untimed
@given(damaged())
def test_damaged_frame_is_completed_or_refused_and_never_grows(frame: bytes) -> None:
    completed_or_refused(frame)


@untimed
@given(st.one_of(st.binary(max_size=200), st.integers(0, VNET_HEADER_BYTES + FRAME_MAX).map(bytes)))
def test_any_bytes_are_completed_or_refused(frame: bytes) -> None:
    completed_or_refused(frame)
