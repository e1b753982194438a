"""Guest memory and the door through which a device sees it (`etherloom.device.memory`)."""

from __future__ import annotations

from mmap import mmap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etherloom import UsageError
from etherloom.device import Dma, DmaError, GuestMemory
from etherloom.device.memory import DMA_MAX

PAGE = 4096


def two_neighbours() -> tuple[GuestMemory, Dma, list[mmap]]:
    """RAM at 1000h to 3000h, in two mappings, and a read-only page at 4000h."""
    memory, dma = GuestMemory(), Dma(lambda: True)
    buffers = [mmap(-1, PAGE) for _ in range(3)]
    memory.map(0x1000, buffers[0])
    memory.map(0x2000, buffers[1])
    memory.map(0x4000, buffers[2], writable=False)
    dma.memory = memory
    return memory, dma, buffers


def test_a_write_is_read_back_and_lies_where_it_should() -> None:
    _, dma, buffers = two_neighbours()
    dma.write(0x1010, b"hello")
    assert (b"hello", b"hello", 5, 5) == (dma.read(0x1010, 5), buffers[0][16:21], dma.bytes_read, dma.bytes_written)


def test_neighbours_are_one_range() -> None:
    _, dma, buffers = two_neighbours()
    dma.write(0x1FFE, b"abcd")
    assert (b"ab", b"cd", b"abcd") == (buffers[0][-2:], buffers[1][:2], dma.read(0x1FFE, 4))


@pytest.mark.parametrize(
    ("address", "length"), [(0, 1), (0xFFF, 2), (0x2FFF, 2), (0x3000, 1), (0x4FFF, 2), ((1 << 64) - 1, 1), (1 << 70, 4)]
)
def test_what_is_not_all_ram_is_refused_whole(address: int, length: int) -> None:
    _, dma, buffers = two_neighbours()
    with pytest.raises(DmaError):
        dma.read(address, length)
    with pytest.raises(DmaError):
        dma.write(address, b"x" * length)
    assert [bytes(PAGE)] * 3 == [buffer[:] for buffer in buffers]


def test_read_only_memory_takes_no_write_by_itself_or_as_a_neighbour() -> None:
    memory, dma, buffers = two_neighbours()
    memory.map(0x5000, mmap(-1, PAGE))
    assert bytes(4) == dma.read(0x4000, 4)
    for address in (0x4000, 0x4FFE):
        with pytest.raises(DmaError, match="read-only"):
            dma.write(address, b"abcd")
    assert (bytes(4), bytes(2)) == (buffers[2][-4:], dma.read(0x5000, 2))


def test_nothing_at_all_needs_no_memory() -> None:
    _, dma, _ = two_neighbours()
    assert b"" == dma.read(0xDEAD0000, 0)


def test_one_access_has_a_limit() -> None:
    memory, dma = GuestMemory(), Dma(lambda: True)
    memory.map(0, mmap(-1, DMA_MAX + PAGE))
    dma.memory = memory
    assert DMA_MAX == len(dma.read(0, DMA_MAX))
    with pytest.raises(DmaError):
        dma.read(0, DMA_MAX + 1)


def test_without_memory_or_mastering_nothing_passes() -> None:
    allowed = True
    dma = Dma(lambda: allowed)
    with pytest.raises(DmaError):
        dma.read(0x1000, 1)
    memory, _, _ = two_neighbours()
    dma.memory = memory
    dma.read(0x1000, 1)
    allowed = False
    dma.forget()
    with pytest.raises(DmaError, match="not bus master"):
        dma.read(0x1000, 1)


def test_a_mapping_that_goes_is_gone_for_a_door_that_remembers_it() -> None:
    memory, dma, _ = two_neighbours()
    dma.read(0x1000, 1)
    memory.unmap(0x1000, PAGE)
    with pytest.raises(DmaError):
        dma.read(0x1000, 1)
    dma.read(0x2000, 1)
    memory.clear()
    assert () == memory.mappings
    with pytest.raises(DmaError):
        dma.read(0x2000, 1)


def test_a_door_leaves_its_old_memory() -> None:
    memory, dma, _ = two_neighbours()
    dma.memory = None
    assert ([], None) == (memory.doors, dma.memory)


def test_a_mapping_may_show_a_part_of_a_buffer() -> None:
    memory, dma = GuestMemory(), Dma(lambda: True)
    buffer = mmap(-1, PAGE)
    buffer[100:103] = b"abc"
    memory.map(0x1000, buffer, offset=100, size=3)
    dma.memory = memory
    assert b"abc" == dma.read(0x1000, 3)
    with pytest.raises(DmaError):
        dma.read(0x1000, 4)


@pytest.mark.parametrize(
    ("start", "offset", "size"),
    [
        (0x1FFF, 0, 2),
        (0x2800, 0, 16),
        (0x0FFF, 0, 2),
        (0x8000, 0, 0),
        (0x8000, PAGE, 1),
        (-1, 0, 1),
        ((1 << 64) - 1, 0, 2),
    ],
)
def test_impossible_mappings_are_the_callers_fault(start: int, offset: int, size: int) -> None:
    memory, _, _ = two_neighbours()
    with pytest.raises(UsageError):
        memory.map(start, mmap(-1, PAGE), offset=offset, size=size)


def test_only_whole_mappings_go() -> None:
    memory, _, _ = two_neighbours()
    for start, size in ((0x1000, 10), (0x1800, PAGE), (0x9000, PAGE), (0, PAGE)):
        with pytest.raises(UsageError):
            memory.unmap(start, size)


@given(
    st.lists(st.integers(1, 64), min_size=1, max_size=8),
    st.lists(st.tuples(st.integers(0, 600), st.binary(max_size=300)), max_size=10),
)
def test_many_neighbours_are_as_one_buffer(sizes: list[int], writes: list[tuple[int, bytes]]) -> None:
    memory, dma = GuestMemory(), Dma(lambda: True)
    total = 0
    for size in sizes:
        memory.map(0x1000 + total, mmap(-1, size))
        total += size
    dma.memory = memory
    model = bytearray(total)
    for at, data in writes:
        try:
            dma.write(0x1000 + at, data)
        except DmaError:
            assert data
            assert at + len(data) > total
        else:
            model[at : at + len(data)] = data
    assert bytes(model) == dma.read(0x1000, total)
