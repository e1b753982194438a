"""QEMU's own arguments: `-netdev`, `-nic`, `-net`, and `-device` for NIC models (O-01 to O-26).

The same arguments after `qemu-system-x86_64 -machine none -nodefaults -display none` and after `etherloom run` build
the same network. What has a meaning for QEMU alone (`-nodefaults`, `-display none` and the like) is accepted, so that a
command line can be taken over whole; of the rest of QEMU's options none is.

Facts, as QEMU 7.2 was seen to behave:

- JSON `-netdev` first, then flat ones, then `-nic`, then `-net`, then `-device`, whatever their order (O-14).
- `-net TYPE` and `-net nic` get a port of hub 0 each; `-nic` joins its backend to its NIC directly.
- The id in `-nic` is its backend's. A NIC of `-nic` or `-net` is called after its model (C-05), whatever its id.
- In `-nic` the address is `mac=`, in `-net nic` it is `macaddr=`; an empty one is none.

Differs from QEMU: generated ids are `#net000`, `#net001` in order, there they end in two random digits, and the same
arguments are to mean the same network each time; there is no limit of 8 to `-nic` and `-net nic` (O-12); a NIC model
that is not installed is an error, there a warning.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from etherloom.bundled import DEFAULT_NIC_MODEL, HUB_PORT
from etherloom.config import flat
from etherloom.config.help import HelpRequested, kinds_text, options_text
from etherloom.config.names import ID_ALLOWED, check_id, first_free
from etherloom.config.network import Builder
from etherloom.errors import ConfigError, nearest

if TYPE_CHECKING:
    from etherloom.config.model import NetworkConfig
    from etherloom.plugins.registry import Registry

__all__ = ["HelpRequested", "parse"]

DEFAULT_BACKEND = "user"  # what -nic without a type gets (O-09)
NET_HUB = 0  # the hub of -net

IMPLIED = {"netdev": "type", "nic": "type", "net": "type", "device": "driver", "name": "guest"}
ONLY_NONE = ("machine", "M", "display", "monitor")
FLAGS = ("nodefaults", "nographic")
TAKEN = "-netdev, -nic, -net, -device, -name NAME; -machine, -display and -monitor none, -nodefaults and -nographic"

NIC_KEYS = {"macaddr": "mac", "addr": "addr", "vectors": "vectors", "netdev": "netdev"}
"""Keys of `-net nic` beside `model` and `id`, and the NIC model's option that each one sets (O-20 to O-24)."""

REMOVED = {"vlan": f"-netdev {HUB_PORT},id=ID,hubid=N,netdev=BACKEND, one for each", "name": "id="}
"""See `Builder`."""

Raw = dict[str, Any]


@attrs.frozen
class _Argument:
    """One option and its value, as typed."""

    option: str
    text: str

    @property
    def origin(self) -> str:
        return f"-{self.option} {self.text}"

    @property
    def is_json(self) -> bool:
        """QEMU looks at the first character, and at these two options only (O-02)."""
        return self.text.startswith("{") and self.option in ("netdev", "device")

    def flat(self) -> Raw:
        """All values of each key; for `id`, of which QEMU takes the first, that one."""
        groups: Raw = flat.grouped(flat.parse(self.text, IMPLIED[self.option]))
        if "id" in groups:
            groups["id"] = groups["id"][:1]
        return groups


def parse(argv: Sequence[str], registry: Registry) -> NetworkConfig:
    """A network from QEMU's arguments.

    Args:
        argv: The arguments, without the program.
        registry: Imports the kinds that are named.

    Raises:
        ConfigError: The first mistake, with the argument as its origin.
        PluginError: A kind is installed and cannot be used.
        HelpRequested: One of the arguments asks for help.
    """
    arguments = _split(argv)
    for argument in arguments:
        _help(argument, registry)
    name = ""
    for argument in arguments:
        if argument.option == "name":
            name = _name(argument)
    assembly = _Assembly(registry)
    steps: list[tuple[str, bool, Callable[[_Argument], None]]] = [
        ("netdev", True, assembly.netdev),
        ("netdev", False, assembly.netdev),
        ("nic", False, assembly.nic),
        ("net", False, assembly.net),
    ]
    for option, is_json, step in steps:
        for argument in arguments:
            if argument.option == option and argument.is_json == is_json:
                step(argument)
    for argument in arguments:
        if argument.option == "device":
            assembly.device(argument)
    return assembly.builder.finish(name)


class _Assembly:
    """Turns each argument into what it stands for."""

    def __init__(self, registry: Registry) -> None:
        self.builder = Builder(registry, REMOVED)

    def netdev(self, argument: _Argument) -> None:
        """One backend; its id is mandatory (O-01)."""
        origin = argument.origin
        raw = _json(argument) if argument.is_json else argument.flat()
        kind, name = (_take(raw, key, is_json=argument.is_json) for key in ("type", "id"))
        if name is None:
            raise ConfigError("is missing", origin=origin, key="id", allowed=ID_ALLOWED)
        check_id(name, origin=origin)
        self.builder.add(self._kind(kind, "type", origin), name, raw, origin=origin, flat=not argument.is_json)

    def nic(self, argument: _Argument) -> None:
        """A backend and its NIC (O-09)."""
        origin, raw = argument.origin, argument.flat()
        kind = self._kind(_take(raw, "type") if "type" in raw else DEFAULT_BACKEND, "type", origin)
        name = self._id(raw, origin)
        if kind == "none":
            return
        nic = {"mac": _take(raw, "mac"), "model": _take(raw, "model")}
        self.builder.add(kind, name, raw, origin=origin, flat=True)
        self._add_nic(nic["model"], {"mac": nic["mac"], "netdev": name}, origin)

    def net(self, argument: _Argument) -> None:
        """A client on hub 0, or a NIC on the backend that it names (O-20)."""
        origin, raw = argument.origin, argument.flat()
        kind = self._kind(_take(raw, "type"), "type", origin)
        name = self._id(raw, origin)
        if kind == "none":
            self._refuse_keys(raw, (), "-net none", origin)
        elif kind == "nic":
            model = _take(raw, "model")
            self._refuse_keys(raw, ("id", "model", *NIC_KEYS), "-net nic", origin)
            wanted: Raw = {NIC_KEYS[key]: values[-1] for key, values in raw.items()}
            if "netdev" not in wanted:
                wanted["netdev"] = self.builder.add_hub_port(NET_HUB, None, origin=origin)
            self._add_nic(model, wanted, origin)
        elif kind == HUB_PORT:
            raise ConfigError("a hub port cannot be on hub 0 through -net", origin=origin, allowed="-netdev or -nic")
        else:
            self.builder.add(kind, name, raw, origin=origin, flat=True)
            self.builder.add_hub_port(NET_HUB, name, origin=origin)

    def device(self, argument: _Argument) -> None:
        """A NIC; all other keys are its model's options."""
        origin = argument.origin
        raw = _json(argument) if argument.is_json else argument.flat()
        model, name = (_take(raw, key, is_json=argument.is_json) for key in ("driver", "id"))
        if name is not None:
            check_id(name, origin=origin)
        model = self._kind(model, "driver", origin, table="nic_model")
        self.builder.add(model, name, raw, origin=origin, flat=not argument.is_json, table="nic_model")

    def _add_nic(self, model: str | None, wanted: Raw, origin: str) -> None:
        raw = {key: value for key, value in wanted.items() if value is not None and (key, value) != ("mac", "")}
        self.builder.add(model or DEFAULT_NIC_MODEL, None, raw, origin=origin, flat=True, table="nic_model")

    def _id(self, raw: Raw, origin: str) -> str:
        name = _take(raw, "id")
        if name is None:
            return first_free("#net{:03}", 0, self.builder.clients)
        return check_id(name, origin=origin)

    def _kind(self, kind: object, key: str, origin: str, table: str = "net_client") -> str:
        if isinstance(kind, str) and kind:
            return kind
        problem = "is missing" if kind is None else f"{kind!r} is not a kind"
        installed = ", ".join(self.builder.registry.kinds(table)) or "none is installed"
        raise ConfigError(problem, origin=origin, key=key, allowed=installed)

    def _refuse_keys(self, raw: Raw, known: Sequence[str], what: str, origin: str) -> None:
        for key in raw:
            if key not in known:
                self.builder.refuse_removed(key, origin=origin)
                hint = nearest(key, known)
                problem = f"{what} has no such option" + (f"; {hint}" if hint else "")
                raise ConfigError(problem, origin=origin, key=key, allowed=", ".join(known) or "none at all")


def _split(argv: Sequence[str]) -> list[_Argument]:
    """The arguments that make up the network. One dash and two are the same; `-netdev=...` is none, as in QEMU."""
    arguments: list[_Argument] = []
    words = iter(argv)
    for word in words:
        option = word.removeprefix("-").removeprefix("-")
        if not word.startswith("-") or option not in (*IMPLIED, *ONLY_NONE, *FLAGS):
            hint = nearest(option, (*IMPLIED, *ONLY_NONE, *FLAGS)) if word.startswith("-") else ""
            problem = f"{word!r} is nothing that etherloom takes from QEMU" + (f"; {hint}" if hint else "")
            raise ConfigError(problem, allowed=TAKEN)
        if option in FLAGS:
            continue
        text = next(words, None)
        if text is None:
            raise ConfigError("its value is missing", origin=word, allowed="none" if option in ONLY_NONE else "")
        if option in IMPLIED:
            arguments.append(_Argument(option, text))
        elif text != "none" and (option not in ("machine", "M") or text != "type=none"):
            raise ConfigError(f"{text!r} is QEMU's business", origin=f"{word} {text}", allowed="none")
    return arguments


def _help(argument: _Argument, registry: Registry) -> None:
    """Raise HelpRequested if the argument asks for help: `-netdev help`, `-netdev tap,help`, `-nic model=help`.

    Options of a kind are listed as QEMU lists those of a device; for its backends it has no such list.
    """
    option = argument.option
    if argument.is_json or option == "name":
        return
    raw = argument.flat()
    kind = raw.get(IMPLIED[option], [""])[-1]
    asked = any(word in raw for word in flat.HELP_WORDS)
    if kind in flat.HELP_WORDS:
        raise HelpRequested(kinds_text(registry, "nic_model" if option in ("device", "nic") else "net_client"))
    if option in ("nic", "net") and (raw.get("model", [""])[-1] in flat.HELP_WORDS or (kind == "nic" and asked)):
        raise HelpRequested(kinds_text(registry, "nic_model"))
    if kind and asked:
        table = "nic_model" if option == "device" else "net_client"
        raise HelpRequested(options_text(Builder(registry, REMOVED).row(kind, table, origin=argument.origin)))


def _name(argument: _Argument) -> str:
    """The instance's name; what else `-name` may say concerns QEMU's process."""
    raw = argument.flat()
    for key in raw:
        if key not in ("guest", "process", "debug-threads"):
            raise ConfigError("-name has no such option", origin=argument.origin, key=key, allowed="guest=NAME")
    return _take(raw, "guest") or ""


def _take(raw: Raw, key: str, *, is_json: bool = False) -> Any:
    """Remove a key; of a repeated one the last value counts."""
    values = raw.pop(key, None)
    return values[-1] if values and not is_json else values


def _json(argument: _Argument) -> Raw:
    """The JSON form (O-02). Lists of text are lists of `{"str": ...}` there (O-07).

    Differs from QEMU: it takes single quotes, too, which no other JSON parser does.
    """

    def collect(pairs: list[tuple[str, Any]]) -> Raw:
        members = dict(pairs)
        if len(members) < len(pairs):
            twice = next(key for key, _ in pairs if [other for other, _ in pairs].count(key) > 1)
            raise ConfigError("is given twice", origin=argument.origin, key=twice, allowed="each key once")
        return members

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no JSON")

    try:
        document = json.loads(argument.text, object_pairs_hook=collect, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"not readable as JSON: {error}", origin=argument.origin) from error
    return {key: _texts(value) for key, value in document.items()}


def _texts(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return [item["str"] if isinstance(item, dict) and item.keys() == {"str"} else item for item in value]
