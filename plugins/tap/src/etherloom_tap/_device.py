"""A tap that is attached: opened by name or taken over by fd, told how frames look, and closed.

Every refusal of the kernel leaves here as a HostError that says which privilege, flag or device lacks (U-12).
"""

from __future__ import annotations

import errno
import os
import struct

from etherloom import VNET_HEADER_BYTES, ConfigError, HostError, Offload
from etherloom.owner import Mark
from etherloom_tap._kernel import DEVICE, IFREQ, Kernel, Request, TunFlag

__all__ = ["TunDevice"]

SNDBUF_UNLIMITED = 2**31 - 1  # what the kernel starts with, and QEMU sets (O-87)

NEEDED = "run with CAP_NET_ADMIN, use a tap made for this user (ip tuntap add NAME mode tap user USER), or inherit fd="


class TunDevice:
    """One attached tap.

    Args:
        kernel: The real one or a fake.
        fd: Attached already; owned by the device from here on.
        ifname: The interface.
        flags: What it is attached with.
        made: The interface came into being with the fd and goes with it.
        adopted: The fd was open before.

    Attributes:
        vnet: Frames carry a 10-byte virtio-net header.
        readinto, write: Of `Kernel.file`: one frame per call, None for EAGAIN, OSError.
    """

    def __init__(
        self, kernel: Kernel, fd: int, ifname: str, flags: TunFlag, *, made: bool = False, adopted: bool = False
    ) -> None:
        self._kernel, self._adopted = kernel, adopted
        self._file = kernel.file(fd)
        self.fd, self.ifname, self.made = fd, ifname, made
        self.vnet = TunFlag.VNET_HDR in flags
        self.readinto, self.write = self._file.readinto, self._file.write
        if self.vnet:
            self._set("the virtio-net header's size", Request.SETVNETHDRSZ, VNET_HEADER_BYTES)
            self._set("the virtio-net header's byte order", Request.SETVNETLE, 1)  # virtio 1.2, section 5.1.6
            self.set_offload(Offload(0))  # an earlier user of the interface may have left some on

    @classmethod
    def attach(cls, kernel: Kernel, ifname: str | None, vnet: bool | None) -> TunDevice:
        """Create an interface, or attach to one that waits for a user (`ip tuntap add`).

        Args:
            kernel: The real one or a fake.
            ifname: Its name, a pattern with one `%d`, or None for the kernel's choice `tapN` (O-80).
            vnet: Must have a virtio-net header, must not, or None for whatever the kernel can (O-88).

        Raises:
            HostError: The kernel refused.
        """
        fd = _open(kernel)
        try:
            flags = TunFlag.TAP | TunFlag.NO_PI
            features = _features(kernel, fd)
            if vnet and not features & TunFlag.VNET_HDR:
                raise HostError("attach with vnet_hdr=on", device=DEVICE, remedy="this kernel has no IFF_VNET_HDR")
            if vnet is not False and features & TunFlag.VNET_HDR:
                flags |= TunFlag.VNET_HDR
            try:
                kernel.ioctl(fd, Request.SETIFF, IFREQ.pack((ifname or "tap%d").encode(), flags))
            except OSError as error:
                raise _attach_error(error, ifname or "tap%d") from error
            name, has = _identity(kernel, fd)
            made = TunFlag.PERSIST not in has
            if made:
                # A persistent interface is not ours: marked, it would be removed with the marks of the dead.
                kernel.set_alias(name, str(Mark.mine()))
            return cls(kernel, fd, name, flags, made=made)
        except BaseException:
            os.close(fd)
            raise

    @classmethod
    def adopt(cls, kernel: Kernel, fd: int) -> TunDevice:
        """Take over an inherited fd, which needs no privilege (O-81). It is left open where this raises.

        Whether it was opened with IFF_NO_PI, as it must be, it does not tell: that bit of TUNGETIFF's answer is
        IFF_NOFILTER.

        Raises:
            ConfigError: The fd is none, or of something that is no tap.
        """
        try:
            os.fstat(fd)
        except OSError:
            raise ConfigError(f"{fd} is not an open file descriptor", key="fd") from None
        try:
            name, flags = _identity(kernel, fd)
        except OSError as error:
            cause = "it is not attached to an interface" if error.errno == errno.EBADFD else error.strerror
            raise ConfigError(f"file descriptor {fd} is no tap: {cause}", key="fd", allowed="an open tap") from None
        if TunFlag.TAP not in flags:
            raise ConfigError(f"{name} was opened with IFF_TUN and has no Ethernet", key="fd", allowed="IFF_TAP")
        os.set_blocking(fd, False)
        os.set_inheritable(fd, False)
        return cls(kernel, fd, name, flags, adopted=True)

    def set_offload(self, offload: Offload) -> None:
        """What the kernel may leave undone in the frames it hands out; as much of it as this kernel knows."""
        for known in (offload, offload & ~(Offload.USO4 | Offload.USO6)):  # USO since Linux 6.2
            try:
                self._kernel.ioctl(self.fd, Request.SETOFFLOAD, int(known))
                return
            except OSError as error:
                refusal = error
        raise HostError("set offloads", refusal.errno or 0, device=self.ifname) from refusal

    def set_sndbuf(self, octets: int | None) -> None:
        """How many bytes of frames may wait inside the host before `write` says EAGAIN; 0 and None: no limit (O-87)."""
        limit = min(octets or SNDBUF_UNLIMITED, SNDBUF_UNLIMITED)
        try:
            self._set(f"sndbuf={octets}", Request.SETSNDBUF, limit)
        except HostError:
            if octets is not None:
                raise

    def close(self) -> None:
        """Let go of the fd, and with it of an interface that came into being with it."""
        self._file.close()
        os.close(self.fd)

    def abandon(self) -> None:
        """Undo `attach` or `adopt`: an inherited fd stays open."""
        self._file.close()
        if not self._adopted:
            os.close(self.fd)

    def _set(self, what: str, request: Request, value: int) -> None:
        try:
            self._kernel.ioctl(self.fd, request, struct.pack("i", value))
        except OSError as error:
            raise HostError(f"set {what}", error.errno or 0, device=self.ifname) from error


def _open(kernel: Kernel) -> int:
    try:
        return kernel.open()
    except OSError as error:
        remedy = {
            errno.ENOENT: "load the module (modprobe tun); in a container, pass the device in (--device /dev/net/tun)",
            errno.EACCES: "give this user access to the device, or inherit a tap by fd=",
            errno.EPERM: "allow the device in the container's device list, or inherit a tap by fd=",
        }.get(error.errno or 0, "this kernel has no TUN/TAP driver (CONFIG_TUN)")
        raise HostError("open", error.errno or 0, device=DEVICE, remedy=remedy) from error


def _features(kernel: Kernel, fd: int) -> int:
    try:
        (features,) = struct.unpack("I", kernel.ioctl(fd, Request.GETFEATURES, bytes(4)))
    except OSError as error:
        remedy = "it is not the kernel's TUN/TAP device (mknod /dev/net/tun c 10 200)"
        raise HostError("ask for the features of", error.errno or 0, device=DEVICE, remedy=remedy) from error
    return int(features)


def _identity(kernel: Kernel, fd: int) -> tuple[str, TunFlag]:
    name, flags = IFREQ.unpack(kernel.ioctl(fd, Request.GETIFF, bytes(IFREQ.size)))
    return name.rstrip(b"\0").decode(), TunFlag(flags)


def _attach_error(error: OSError, ifname: str) -> HostError:
    """What the kernel means: EINVAL alone has four meanings."""
    remedy = ""
    match error.errno:
        case errno.EPERM:
            remedy = NEEDED
        case errno.EBUSY:
            remedy = "another process has it open; pick another ifname="
        case errno.EINVAL:
            from etherloom_tap._links import tun_mismatch

            remedy = tun_mismatch(ifname)
    return HostError("attach to tap", error.errno or 0, device=ifname, remedy=remedy)
