"""A real guest in a test: Linux under QEMU on NICs of this process's networks.

::

    async with LinuxGuest(devices(config, registry), append="ip=10.0.0.2/24") as guest:
        assert "3 packets received" in await guest.check("ping -c 3 10.0.0.1")

The guest is `script/get-guest`'s. Commands go over its second serial line, one at a time, to the agent that
script/lib/guest-init describes; what it says on the first is `console`. Everything has a deadline, nothing sleeps, and
QEMU ends with the `async with`, whatever happens. It needs the loop on which the NICs' network is: the guest stands
still while that does not run, and QEMU gives a NIC up after 5 s.
"""

from __future__ import annotations

import asyncio
import re
import socket
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Self

import attrs

from etherloom.errors import EtherloomError
from etherloom.guest.qemu import Kernel, Machine, Qemu, end

__all__ = ["CommandResult", "GuestError", "LinuxGuest"]

BOOT_S = 90.0  # 4 s on an idle machine
COMMAND_S = 60.0
LINE_MAX = 16 << 20  # of the agent's answers, in bytes of base64
CONSOLE_SHOWN = 2000  # characters of it in a message


class GuestError(EtherloomError):
    """The guest did not do what it was asked in time, or a command of it failed."""


@attrs.frozen
class CommandResult:
    """How a command ended: its exit status, and what it wrote to stdout and stderr."""

    status: int
    output: str


class LinuxGuest:
    """A virtual machine that boots in `start`, or with `async with`.

    Args:
        devices: QEMU's `-device`, for each NIC.
        suite: The Debian suite of its kernel; empty for any that is there.
        append: More words for the kernel's command line: `ip=10.0.0.2/24`.
        memory: Of the guest.
        arguments: More arguments of QEMU.
        pass_fds: Descriptors that they speak of.

    Attributes:
        console: All that came over the first serial line so far, and what QEMU wrote itself.
    """

    def __init__(
        self,
        devices: Sequence[Mapping[str, object]],
        *,
        suite: str = "",
        append: str = "",
        memory: str = "256M",
        arguments: Sequence[str] = (),
        pass_fds: Sequence[int] = (),
    ) -> None:
        self._machine = Machine(
            qemu=Qemu.find(),
            kernel=Kernel.cached(suite),
            devices=devices,
            memory=memory,
            append=f"quiet etherloom.agent {append}",
            serial=("stdio", "chardev:agent"),
        )
        self._arguments, self._pass_fds = arguments, pass_fds
        self._requests = 0
        self.console = ""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Boot, until the agent listens.

        Raises:
            GuestError: It did not come that far; QEMU has been ended.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                *self._machine.argv,
                *("-chardev", f"socket,id=agent,fd={theirs.fileno()}", *self._arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                pass_fds=[theirs.fileno(), *self._pass_fds],
            )
        self._listening = asyncio.create_task(self._listen())
        self._answers, self._agent = await asyncio.open_connection(sock=ours, limit=LINE_MAX)
        try:
            await self._line(BOOT_S, "boot", "ready")
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End QEMU."""
        await end(self._process)
        await self._listening
        self._agent.close()

    async def kill(self) -> None:
        """Kill QEMU, as if it had crashed."""
        self._process.kill()
        await self._process.wait()

    async def run(self, command: str, *, timeout_s: float = COMMAND_S) -> CommandResult:
        """Have the guest's shell run a command to its end.

        Raises:
            GuestError: It took longer than `timeout_s`, or the guest is gone. Nothing more can be run.
        """
        self._requests += 1
        request = str(self._requests)
        self._agent.write(f"{request} {b64encode(command.encode()).decode()}\n".encode())
        _, status, *output = await self._line(timeout_s, command, request)
        return CommandResult(int(status), b64decode("".join(output)).decode(errors="replace"))

    async def check(self, command: str, *, timeout_s: float = COMMAND_S) -> str:
        """Run a command that has to succeed.

        Returns:
            What it wrote.

        Raises:
            GuestError: Its status is not 0; also as for `run`.
        """
        result = await self.run(command, timeout_s=timeout_s)
        if result.status:
            raise self._error(f"{command!r} ended with status {result.status}: {result.output}")
        return result.output

    async def reboot(self) -> None:
        """Have the guest reboot itself, until its agent listens again."""
        self._agent.write(f"0 {b64encode(b'reboot -f').decode()}\n".encode())
        await self._line(BOOT_S, "reboot", "ready")

    async def _line(self, timeout_s: float, what: str, first: str) -> list[str]:
        """The words of the agent's next line that begins with `first`."""
        try:
            async with asyncio.timeout(timeout_s):
                while line := await self._answers.readline():
                    words = line.decode(errors="replace").split()
                    if words[:1] == [first]:
                        return words
        except TimeoutError:
            raise self._error(f"{what!r} took more than {timeout_s:g} s") from None
        except ConnectionError as error:
            raise self._error(f"QEMU ended during {what!r}") from error
        raise self._error(f"QEMU ended during {what!r}")

    async def _listen(self) -> None:
        """Collect the console until QEMU has ended."""
        assert self._process.stdout is not None
        while data := await self._process.stdout.read(65536):
            self.console += data.decode(errors="replace")

    def _error(self, problem: str) -> GuestError:
        plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", self.console)
        return GuestError(f"{problem}\nThe guest's console:\n{plain[-CONSOLE_SHOWN:]}")
