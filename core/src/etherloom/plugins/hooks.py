"""The relay that tells every plugin: pluggy, one plugin manager for each hooks object.

With all of them in one manager the first hook that raises keeps the others from being called, two objects that compare
equal count as one, and unhashable objects are refused at odd places. With one manager each, isolation is a loop, and
what pluggy finds wrong with an object has a culprit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import attrs
from pluggy import PluginManager, PluginValidationError

from etherloom.client import NetClient
from etherloom.errors import ContractMismatch, nearest
from etherloom.net.network import Observer
from etherloom.plugins import hookspecs
from etherloom.plugins.offers import Offer
from etherloom.plugins.trace import Tracer

__all__ = ["HookObserver", "Hooks", "InitHook"]

log = logging.getLogger("etherloom")


@attrs.frozen(eq=False)
class _Member:
    offer: Offer
    plugin: object
    manager: PluginManager


class Hooks:
    """`hooks.link_changed(client=client)` calls that hook of every registered plugin and returns their results, a list.

    Args:
        tracer: Told of every call, or None.
    """

    def __init__(self, tracer: Tracer | None = None) -> None:
        self._tracer = tracer
        self._members: list[_Member] = []

    def register(self, plugin: object, offer: Offer) -> None:
        """Take in the hooks object of a row. One that is known already, since rows may share it, is left alone.

        Raises:
            ContractMismatch: It implements what is no hook, or asks for arguments that the hook does not have.
        """
        if any(member.plugin is plugin for member in self._members):
            return
        manager = self.manager(plugin, offer)
        implementations = [impl for caller in manager.get_hookcallers(plugin) or () for impl in caller.get_hookimpls()]
        problem = ""
        if not implementations:
            problem = f"hooks {plugin!r} implement no hook; mark each with @hookimpl of etherloom.plugins.hookspecs"
        elif any(impl.wrapper or impl.hookwrapper for impl in implementations):
            problem = f"hooks {plugin!r} have a wrapper, and hooks are called one plugin at a time; write a plain hook"
        elif manager.hook.net_client_init.get_hookimpls():
            problem = "net_client_init is not for hooks; it is the row's `init`"
        if problem:
            raise offer.error(ContractMismatch, problem)
        self._members.append(_Member(offer, plugin, manager))

    def manager(self, plugin: object, offer: Offer) -> PluginManager:
        """A plugin manager with `plugin` and nothing else in it, checked against the specifications."""
        manager = PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        specified = set(vars(manager.hook))
        try:
            manager.register(plugin, name=offer.label)
            manager.check_pending()
        except PluginValidationError as error:
            unknown = [
                caller.name
                for caller in manager.get_hookcallers(plugin) or ()
                if not caller.has_spec() and not all(impl.optionalhook for impl in caller.get_hookimpls())
            ]
            problem = f"unknown hook {unknown[0]!r}; {nearest(unknown[0], specified)}" if unknown else _one_line(error)
            raise offer.error(ContractMismatch, f"hooks of kind {offer.kind!r}: {problem.rstrip('; ')}") from error
        if self._tracer is not None:
            self._tracer.attach(manager, offer.label)
        return manager

    def __getattr__(self, hook: str) -> Callable[..., list[Any]]:
        if not hasattr(hookspecs, hook) or not hasattr(getattr(hookspecs, hook), f"{hookspecs.PROJECT}_spec"):
            raise AttributeError(f"no hook {hook!r}")

        def broadcast(**arguments: object) -> list[Any]:
            results: list[Any] = []
            for label, answer in self.answers(hook, **arguments):
                if isinstance(answer, Exception):
                    what = f"{type(answer).__name__}: {answer}"
                    log.error("hook %s of %s raised %s", hook, label, what, exc_info=answer)
                else:
                    results += answer
            return results

        return broadcast

    def answers(self, hook: str, **arguments: object) -> Iterator[tuple[str, list[Any] | Exception]]:
        """Call a hook of one plugin after the other: each plugin's label, and its results or what it raised."""
        for member in tuple(self._members):  # a hook may load another plugin
            try:
                answer: list[Any] | Exception = getattr(member.manager.hook, hook)(**arguments)
            except Exception as error:
                answer = error
            yield member.offer.label, answer


class InitHook:
    """A row's `init` as the hook it is, so that it is called, and traced, like the others."""

    def __init__(self, init: Callable[..., NetClient]) -> None:
        self._init = init

    @hookspecs.hookimpl
    def net_client_init(self, options: Any, name: str, peer: NetClient | None, context: Any) -> NetClient:
        return self._init(options, name, peer, context)


class HookObserver(Observer):
    """Tells the plugins what a network tells its observers."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks

    def net_client_added(self, client: NetClient) -> None:
        self._hooks.net_client_added(client=client)

    def net_client_removed(self, client: NetClient) -> None:
        self._hooks.net_client_removed(client=client)

    def net_client_failed(self, client: NetClient) -> None:
        self._hooks.net_client_failed(client=client)

    def link_changed(self, client: NetClient) -> None:
        self._hooks.link_changed(client=client)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
