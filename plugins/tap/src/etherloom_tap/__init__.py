"""Kind `tap`: an interface of the host as a net client (O-80 to O-94).

What the kernel sends out of the interface comes in here, and the other way round. Not modelled: several queues, vhost,
the bridge helper, macvtap by name, and a carrier that follows the link (`set_link` leaves the host's interface alone).
"""

from __future__ import annotations

from etherloom import Context, NetClient, NetClientKind
from etherloom_tap._client import TapClient
from etherloom_tap._device import TunDevice
from etherloom_tap._hooks import Hooks
from etherloom_tap._kernel import Kernel
from etherloom_tap._links import join_bridge
from etherloom_tap._options import TapOptions
from etherloom_tap._scripts import Scripts

__all__ = ["KIND", "TapClient", "TapOptions", "init"]


def init(
    options: TapOptions,
    name: str,
    peer: NetClient | None,
    context: Context,
    *,
    kernel: Kernel | None = None,
) -> TapClient:
    """Open or take over a tap, put it into its bridge, and make the client.

    Args:
        options: What the config says.
        name: The client's name.
        peer: None; a tap is who others ask for.
        context: Where it is going to live.
        kernel: Other than the running one: `etherloom_tap.testing.FakeKernel`.

    Raises:
        ConfigError, HostError: Nothing is left behind; an inherited fd stays open.
    """
    kernel = kernel or Kernel()
    defaults = options.fd is None and options.br is None
    scripts = Scripts.chosen(options.script, options.downscript, defaults=defaults)
    device = (
        TunDevice.adopt(kernel, options.fd)
        if options.fd is not None
        else TunDevice.attach(kernel, options.ifname, options.vnet_hdr)
    )
    try:
        device.set_sndbuf(options.sndbuf)
        port = None
        if options.br is not None:
            port = join_bridge(options.br, device.ifname, create=options.br_create, temporary=device.made)
    except BaseException:
        device.abandon()
        raise
    return TapClient(name, context, device, scripts, port)


KIND = NetClientKind(
    kind="tap",
    options=TapOptions,
    init=init,
    summary="an interface of the host",
    privilege="CAP_NET_ADMIN, or an inherited fd",
    hooks=Hooks(),
)
