"""A guest on a network of this process: what the tests of real guests share.

Booting takes 4 s, so the tests of one kernel share a guest, and the loop on which it and the network are.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from etherloom.config import qemu
from etherloom.config.apply import Loom
from etherloom.errors import HostError
from etherloom.guest.qemu import Kernel, Qemu, devices
from etherloom.net.network import Network
from etherloom.plugins.registry import Registry
from etherloom.testing.guest import LinuxGuest
from etherloom_tap.lab import Lab, Namespace

SUITES = ("bookworm", "trixie")  # Debian 12's kernel, and a newer one
HOST, GUEST = "10.0.0.1", "10.0.0.2"
MAC = "52:54:00:12:34:56"
MEGABYTE = 1_000_000
TRANSFER_S = 60.0  # and one second for each megabyte; 10 MB take 2 s on an idle machine


class Stand:
    """A guest whose RTL8139 is joined to a tap in a namespace of its own, where the host's side of a test lives.

    Attributes:
        lan: That namespace; its `tap0` has the address HOST.
        network: What runs between the two.
        guest: Its `eth0` has the address GUEST.
    """

    def __init__(
        self, run: Callable[[Coroutine[Any, Any, Any]], Any], lan: Namespace, suite: str, folder: Path
    ) -> None:
        self.run, self.lan, self._suite = run, lan, suite
        self._monitor = folder / "monitor"
        registry = Registry.discover()
        arguments = [
            *("-netdev", f"tap,id=wire,fd={lan.tap('tap0')}"),
            *("-device", f"rtl8139,id=nic,netdev=wire,mac={MAC},bus=vfio-user,socket={folder}/nic"),
        ]
        config = qemu.parse(arguments, registry)
        self._devices = devices(config, registry)
        self._loom: Loom = run(self._make(registry))
        self._loom.apply(config)
        lan.configure("tap0", address=f"{HOST}/24")

    async def _make(self, registry: Registry) -> Loom:
        return Loom(registry, asyncio.get_running_loop())

    @property
    def network(self) -> Network:
        return self._loom.network

    async def boot(self) -> None:
        """Start a guest, on the NIC that is there."""
        monitor = ("-qmp", f"unix:{self._monitor},server=on,wait=off")
        self.guest = LinuxGuest(self._devices, suite=self._suite, append=f"ip={GUEST}/24", arguments=monitor)
        await self.guest.start()

    async def tell_qemu(self, command: str, **arguments: object) -> None:
        """Have QEMU obey a QMP command that has to succeed."""
        answers, requests = await asyncio.open_unix_connection(self._monitor)
        for request in {"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}:
            requests.write(json.dumps(request).encode() + b"\n")
        results = 0
        while results < 2:
            answer = json.loads(await answers.readline())
            assert "error" not in answer, answer
            results += "return" in answer
        requests.close()

    @property
    def device(self) -> dict[str, object]:
        """QEMU's `-device` of the NIC."""
        return self._devices[0]

    async def close(self) -> None:
        await self.guest.close()
        self._loom.close()

    async def from_guest(self, megabytes: int) -> None:
        """Have the guest send that much over TCP, one random megabyte again and again; it has to arrive as it was."""
        digests: asyncio.Future[set[str]] = asyncio.get_running_loop().create_future()

        async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                blocks = {hashlib.sha256(await reader.readexactly(MEGABYTE)).hexdigest() for _ in range(megabytes)}
                digests.set_result(blocks)
            except asyncio.IncompleteReadError as error:
                digests.set_exception(error)
            writer.close()

        async with await self.serve(receive) as server:
            port = server.sockets[0].getsockname()[1]
            block = f"head -c {MEGABYTE} /dev/urandom >/tmp/block; sha256sum </tmp/block"
            stream = f"i=0; while [ $((i += 1)) -le {megabytes} ]; do cat /tmp/block; done | nc {HOST} {port}"
            sent = (await self.guest.check(f"{block}; {stream}", timeout_s=TRANSFER_S + megabytes)).split()[0]
            assert {sent} == await digests

    async def to_guest(self, megabytes: int) -> None:
        """Send the guest that much over TCP; all of it has to arrive as it was."""
        digest = hashlib.sha256()

        async def send(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for _block in range(megabytes):
                data = os.urandom(MEGABYTE)
                digest.update(data)
                writer.write(data)
                await writer.drain()
            writer.close()

        async with await self.serve(send) as server:
            port = server.sockets[0].getsockname()[1]
            got = await self.guest.check(f"nc {HOST} {port} </dev/null | sha256sum", timeout_s=TRANSFER_S + megabytes)
        assert digest.hexdigest() == got.split()[0]

    async def serve(
        self, handler: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]
    ) -> asyncio.Server:
        """A server of the lan, on a port of its own."""
        with self.lan.entered():  # `start_server` makes the socket before it first waits
            return await asyncio.start_server(handler, "0.0.0.0")


@pytest.fixture(scope="session")
def guests() -> None:
    """There is a QEMU that can reach our NICs, and the guests are made."""
    try:
        Qemu.find()
        made = [Kernel.cached(suite) for suite in SUITES]
    except HostError as error:
        pytest.skip(str(error))
    if not made[-1].kernel.with_name("disk.raw").exists():
        pytest.skip(f"there is no guest on a disk; script/get-guest --disk --suite {SUITES[-1]} makes one")


@pytest.fixture(scope="module")
def run() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """Runs a coroutine on the module's loop."""
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture(scope="module", params=SUITES)
def stand(
    request: pytest.FixtureRequest,
    guests: None,
    run: Callable[[Coroutine[Any, Any, Any]], Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stand]:
    """A guest of each kernel."""
    with Lab() as lab:
        stand = Stand(run, lab.namespace("lan"), request.param, tmp_path_factory.mktemp("sockets"))
        run(stand.boot())
        yield stand
        run(stand.close())
