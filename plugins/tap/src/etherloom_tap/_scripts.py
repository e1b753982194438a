"""The scripts that bring a tap up and down, as QEMU runs them: once, with the interface's name (O-83, O-84).

Differs from QEMU (O-83): there a default script that is missing refuses the netdev; here it is not run, since nothing
of Etherloom's installs one. With `br=`, which does what such scripts are for, there are no defaults. And the script
runs once the network stands, not before: the loop does not wait for it, and its failure takes the tap down.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import attrs

from etherloom import ConfigError, HostError

__all__ = ["DEFAULT_DOWN", "DEFAULT_UP", "Scripts"]

DEFAULT_UP = Path("/etc/qemu-ifup")
DEFAULT_DOWN = Path("/etc/qemu-ifdown")

# Tear-down has to end. QEMU waits for ever.
DOWN_SECONDS_MAX = 10


@attrs.frozen
class Scripts:
    """What to run; None for nothing."""

    up: Path | None = None
    down: Path | None = None

    @classmethod
    def chosen(cls, script: str | None, downscript: str | None, *, defaults: bool) -> Scripts:
        """From the options: a path, `no` or the empty string for none, None for the default where there is one.

        Raises:
            ConfigError: A path leads to nothing that can be executed.
        """
        return cls(
            _choose("script", script, DEFAULT_UP if defaults else None),
            _choose("downscript", downscript, DEFAULT_DOWN if defaults else None),
        )

    async def bring_up(self, ifname: str) -> None:
        """Run the first script, if any.

        Raises:
            HostError: It could not be run, or ended with a status other than 0.
        """
        if self.up is None:
            return
        try:
            process = await asyncio.create_subprocess_exec(self.up, ifname, stdin=asyncio.subprocess.DEVNULL)
        except OSError as error:
            raise _not_run(self.up, ifname, error, "script=no") from error
        try:
            status = await process.wait()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        if status:
            raise HostError(f"bring up {ifname}: {self.up} {_ending(status)}")

    def bring_down(self, ifname: str) -> None:
        """Run the second script, if any, and wait for it: what it undoes needs the interface.

        Raises:
            HostError: It could not be run, failed, or took longer than 10 s.
        """
        if self.down is None:
            return
        try:
            done = subprocess.run((self.down, ifname), stdin=subprocess.DEVNULL, timeout=DOWN_SECONDS_MAX, check=False)
        except OSError as error:
            raise _not_run(self.down, ifname, error, "downscript=no") from error
        except subprocess.TimeoutExpired:
            raise HostError(f"bring down {ifname}: {self.down} took more than {DOWN_SECONDS_MAX} s") from None
        if done.returncode:
            raise HostError(f"bring down {ifname}: {self.down} {_ending(done.returncode)}")


def _choose(key: str, given: str | None, default: Path | None) -> Path | None:
    if given is None:
        return default if default is not None and _executable(default) else None
    if given in ("", "no"):
        return None
    script = Path(given).absolute()  # a bare name would be looked for in PATH
    if not _executable(script):
        raise ConfigError(f"{given} is no executable file", key=key, allowed="the path of one, or no")
    return script


def _executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _not_run(script: Path, ifname: str, error: OSError, instead: str) -> HostError:
    remedy = f"make it executable, or say {instead}"
    return HostError(f"run {script} for {ifname}", error.errno or 0, remedy=remedy)


def _ending(status: int) -> str:
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"
