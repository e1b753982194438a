"""VERSION: what is agreed on, and who is sent away."""

from __future__ import annotations

import json

import pytest

from etherloom_vfio_user._wire import NO_REPLY, VERSION, Command
from etherloom_vfio_user.testing import QEMU_CAPABILITIES, Reply, Rig, Style

OURS = {"capabilities": {"max_msg_fds": 16, "max_data_xfer_size": 8192, "pgsizes": 4096, "max_dma_maps": 65535}}


WRONG: list[dict[str, object]] = [
    {"max_msg_fds": "8"},
    {"max_msg_fds": -1},
    {"max_msg_fds": 17},
    {"max_msg_fds": True},
    {"max_msg_fds": 1.5},
    {"max_data_xfer_size": "much"},
    {"max_data_xfer_size": -1},
    {"max_dma_maps": []},
    {"pgsizes": "4096"},
    {"pgsizes": 4095},
    {"migration": 7},
    {"migration": {"pgsize": "4096"}},
    {"migration": {"pgsize": 4095}},
]


def said(reply: Reply) -> object:
    assert reply.payload.endswith(b"\0")
    return json.loads(reply.payload[VERSION.size : -1])


def text_of(**capabilities: object) -> bytes:
    return json.dumps({"capabilities": capabilities}).encode() + b"\0"


def test_qemu_gets_our_capabilities_in_no_more_room_than_it_has(rig: Rig) -> None:
    reply = rig.client().introduce()
    assert (False, (0, 0), OURS) == (reply.failed, VERSION.unpack_from(reply.payload), said(reply))


@pytest.mark.parametrize(("theirs", "agreed"), [(0, 0), (1, 1), (2, 2), (9, 2)])
def test_minor_version_is_the_lower_one(rig: Rig, theirs: int, agreed: int) -> None:
    reply = rig.client().introduce(minor=theirs)
    assert (0, agreed) == VERSION.unpack_from(reply.payload)


def test_answer_is_cut_to_the_length_of_the_request(rig: Rig) -> None:
    """rust-vmm says less of itself than we do, and needs an object all the same."""
    theirs = {"capabilities": {"max_msg_fds": 1, "max_data_xfer_size": 1048576}}
    assert {"capabilities": {"max_msg_fds": 16, "max_data_xfer_size": 8192}} == said(rig.client().introduce(theirs))


def test_client_without_capabilities_gets_none(rig: Rig) -> None:
    reply = rig.client().request(Command.VERSION, VERSION.pack(0, 0))
    assert (False, VERSION.pack(0, 0)) == (reply.failed, reply.payload)


@pytest.mark.parametrize(
    "text", [b"{}\0", b"\0", text_of(), text_of(max_fds=32, new={"x": [1]}), text_of(pgsizes=8192)]
)
def test_unknown_and_missing_capabilities_are_fine(rig: Rig, text: bytes) -> None:
    assert not rig.client().request(Command.VERSION, VERSION.pack(0, 2) + text).failed


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\0\0",
        VERSION.pack(1, 0) + b"{}\0",
        VERSION.pack(0, 0) + b'{"capabilities":{}}',
        VERSION.pack(0, 0) + b'{"capabilities":{}\0',
        VERSION.pack(0, 0) + b'{"capabilities:{}}\0',
        VERSION.pack(0, 0) + b'{"capabilities":7}\0',
        VERSION.pack(0, 0) + b"[]\0",
        VERSION.pack(0, 0) + b"\xff\xfe\0",
        VERSION.pack(0, 0) + b"[" * 8000 + b"\0",
        VERSION.pack(0, 0) + b'{"capabilities":{"max_msg_fds":' + b"9" * 5000 + b"}}\0",
        *(VERSION.pack(0, 0) + text_of(**capabilities) for capabilities in WRONG),
    ],
    ids=lambda payload: repr(bytes(payload))[:60],
)
def test_nonsense_is_refused_and_the_client_dropped(rig: Rig, payload: bytes) -> None:
    client = rig.client()
    reply = client.request(Command.VERSION, payload)
    assert (True, 22) == (reply.failed, reply.error)
    assert client.hung_up()
    assert not rig.client().introduce().failed


def test_nothing_is_obeyed_before_version(rig: Rig) -> None:
    client = rig.client()
    assert (True, 22) == (lambda reply: (reply.failed, reply.error))(client.request(Command.DEVICE_RESET))
    assert client.hung_up()
    assert 1 == rig.nic.resets, "when it was dropped, not when it asked"


def test_client_that_wants_no_answer_to_nonsense_is_dropped_all_the_same(rig: Rig) -> None:
    client = rig.client()
    client.send(client.message(Command.DEVICE_RESET, flags=NO_REPLY))
    assert client.hung_up()


def test_second_version_is_refused_and_changes_nothing(rig: Rig, style: Style) -> None:
    client = rig.client(style)
    client.introduce()
    payload = VERSION.pack(0, 0) + json.dumps(QEMU_CAPABILITIES).encode() + b"\0"
    if style is not Style.STRICT:  # which takes any error for the end
        assert 22 == client.request(Command.VERSION, payload).error
    assert bytes((0xF4, 0x1A)) == client.read(7, 0, 2)
