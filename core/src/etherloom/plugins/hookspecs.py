"""Every hook there is. Implement one by its name, with as many of its arguments as you need::

    from etherloom.plugins.hookspecs import hookimpl

    @hookimpl
    def net_client_failed(client):
        page_somebody(client.name, client.failure)

and put the module, or an object with such methods, into the `hooks` of your row. Hooks run in the loop's thread, must
not block, and are told of events, not asked: one that raises is logged and keeps nobody else from being called. Each
plugin is called on its own, in the order of loading, so a pluggy wrapper would have nothing to wrap and is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pluggy import HookimplMarker, HookspecMarker

if TYPE_CHECKING:
    from etherloom.client import NetClient
    from etherloom.context import Context
    from etherloom.net.network import Network

PROJECT = "etherloom"

hookimpl = HookimplMarker(PROJECT)
hookspec = HookspecMarker(PROJECT)


@hookspec(firstresult=True)
def net_client_init(kind: str, options: Any, name: str, peer: NetClient | None, context: Context) -> NetClient | None:
    """Make a net client. Implemented by a row, as its `init`; called on the one row that owns `kind`."""


@hookspec
def net_client_added(client: NetClient) -> None:
    """A client is in the network and connected to its peer, if it has one."""


@hookspec
def net_client_removed(client: NetClient) -> None:
    """A client is out of the network and closed."""


@hookspec
def net_client_failed(client: NetClient) -> None:
    """A client raised `client.failure` and was taken down; it stays in the network until it is removed."""


@hookspec
def link_changed(client: NetClient) -> None:
    """`client.link_up` was set (C-50: perhaps to what it was)."""


@hookspec
def network_up(network: Network) -> None:
    """The first configuration is applied: clients are made, wired, and starting."""


@hookspec
def network_down(network: Network) -> None:
    """The network is about to be closed; its clients are still there."""


@hookspec
def clean_host() -> list[str] | None:
    """Remove from the host what bears the owner mark of a dead process (`etherloom.owner`), and nothing else.

    Returns:
        One line for each thing removed.
    """
