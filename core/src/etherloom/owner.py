"""Owner marks: who made what on the host, so that it can be removed when its maker is gone.

A process is named by its id and its start time, since ids are used again, and by the PID namespace and the boot in
which they mean something: a container sees the interfaces of the host's network without seeing the host's processes.
What is made carries the mark as its interface's alias. `etherloom clean` removes what bears the mark of a dead process,
and nothing else.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import attrs

__all__ = ["Mark"]

# An alias has room for 255 bytes (IFALIASZ); this is 80 at most.
TEXT = re.compile(r"etherloom pid=([0-9]+) start=([0-9]+) pidns=([0-9]+) boot=([0-9a-f]{8})")


@attrs.frozen
class Mark:
    """One process.

    Attributes:
        pid: Its id in its PID namespace.
        start: In clock ticks since boot (proc(5), field 22 of /proc/PID/stat).
        namespace: Its PID namespace, by the inode number of /proc/PID/ns/pid.
        boot: The first 8 digits of the boot's id, /proc/sys/kernel/random/boot_id.
    """

    pid: int
    start: int
    namespace: int
    boot: str

    @classmethod
    def mine(cls) -> Mark:
        """The mark of this process."""
        return cls(os.getpid(), _start("self") or 0, _namespace(), _boot())

    @classmethod
    def parse(cls, text: str) -> Mark | None:
        """A mark from its text; None for any text that is not a mark."""
        found = TEXT.fullmatch(text.strip())
        if found is None:
            return None
        pid, start, namespace, boot = found.groups()
        return cls(int(pid), int(start), int(namespace), boot)

    @property
    def dead(self) -> bool:
        """The process is gone for certain; not so for one that cannot be seen from this PID namespace."""
        if self.boot != _boot():
            return True
        if self.namespace != _namespace():
            return False
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return True
        except PermissionError:
            pass  # it is somebody else's
        if not _proc_is_ours():
            return False
        start = _start(str(self.pid))
        return start is not None and start != self.start  # the id is another process's now

    def __str__(self) -> str:
        return f"etherloom pid={self.pid} start={self.start} pidns={self.namespace} boot={self.boot}"


def _start(process: str) -> int | None:
    """When a process started; None if it is hidden (proc(5), hidepid) or there is no /proc."""
    try:
        stat = Path("/proc", process, "stat").read_text()
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[19])


def _namespace() -> int:
    try:
        return Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return 0


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        return "00000000"


def _proc_is_ours() -> bool:
    """Whether /proc shows this PID namespace; after `unshare --pid` alone it shows the one that was left."""
    try:
        return str(Path("/proc/self").readlink()) == str(os.getpid())
    except OSError:
        return False
