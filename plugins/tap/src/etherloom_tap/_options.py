"""The options of `tap`: QEMU's names, meanings and defaults (O-80 to O-94), and `br-create`."""

from __future__ import annotations

from typing import Any

import attrs

from etherloom import ConfigError
from etherloom.config.options import Fd, Size, option

__all__ = ["TapOptions"]

IFNAMSIZ = 16  # linux/if.h, with the final NUL


def _check_ifname(_instance: object, _attribute: attrs.Attribute[Any], name: str) -> None:
    """Differs from QEMU (O-80): 7.2 cuts a longer name off and uses what is left."""
    octets = len(name.encode())
    if not 0 < octets < IFNAMSIZ or "/" in name or any(character.isspace() for character in name):
        raise ConfigError(f"{name!r} is no interface name", allowed="1 to 15 bytes, no space, no slash")


@attrs.frozen(kw_only=True)
class TapOptions:
    """Options of `tap`."""

    ifname: str | None = option(
        default=None, validator=_check_ifname, help="interface to make or attach to, `%d` for a number; else `tapN`"
    )
    fd: Fd | None = option(default=None, help="inherited, attached tap; taken over, needs no privilege")
    script: str | None = option(
        default=None, metavar="path", help="run once with the name; `no`: none; else `/etc/qemu-ifup` if it exists"
    )
    downscript: str | None = option(
        default=None, metavar="path", help="run at tear-down; `no`: none; else `/etc/qemu-ifdown` if it exists"
    )
    br: str | None = option(
        default=None, validator=_check_ifname, help="Linux bridge to put the interface into; sets it up"
    )
    br_create: bool = option(default=False, help="make that bridge if it does not exist, and remove it at the end")
    sndbuf: Size | None = option(default=None, minimum=0, help="bytes in flight inside the host; 0 or unset: no limit")
    vnet_hdr: bool | None = option(
        default=None, name="vnet_hdr", help="virtio-net header, which offloads need; unset: if the kernel can"
    )
    queues: int = option(default=1, minimum=1, help="number of queues; more than 1 is not supported yet")
    helper: str | None = option(default=None, help="not supported yet")
    fds: str | None = option(default=None, help="not supported yet")
    vhost: bool = option(default=False, help="kernel data path; `on` is not supported yet")
    vhostfd: str | None = option(default=None, help="not supported yet")
    vhostfds: str | None = option(default=None, help="not supported yet")
    vhostforce: bool = option(default=False, help="`on` is not supported yet")
    poll_us: int = option(default=0, minimum=0, help="vhost's busy polling; other than 0 is not supported yet")

    def __attrs_post_init__(self) -> None:
        for key in ("helper", "fds", "queues", "vhost", "vhostfd", "vhostfds", "vhostforce", "poll_us"):
            if getattr(self, key) != getattr(attrs.fields(TapOptions), key).default:
                raise ConfigError("not supported yet", key=key.replace("_", "-"))
        if self.fd is not None:
            for key in ("ifname", "script", "downscript", "vnet_hdr"):
                if getattr(self, key) is not None:
                    raise ConfigError("cannot be combined with fd= (O-81)", key=key)
        if self.br_create and self.br is None:
            raise ConfigError("needs br=NAME, the bridge to make", key="br-create")
