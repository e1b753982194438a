"""What a kind's options class may say, and the one way from either spelling to an instance of it.

An options class is a frozen attrs class with one field per option::

    @attrs.frozen(kw_only=True)
    class TapOptions:
        ifname: str | None = option(default=None, help="name of the interface; the kernel picks one")
        sndbuf: Size = option(default=Size(0), help="socket send buffer, 0 for unlimited")

A field is named as QEMU names the option, with `-` as `_`; a trailing `_` (for Python's keywords) does not count.
Understood are `str`, `int`, `bool`, `Size`, `Fd`, `pathlib.Path`, enums, `Literal`, any class with a `parse` (see
`Parsed`), `X | None`, and `list[X]` or `tuple[X, ...]`, which the flat spelling fills by repeating the key (O-07).

Two names mean the same for every kind: `netdev` is the wanted peer, and `mac` of a NIC model is filled in where the
config is silent (`etherloom.config.mac`), so it may be mandatory in the class.

The **flat** spelling has text only, read as QEMU reads it (`etherloom.config.flat`). The **typed** one (TOML, JSON) is
strict: a number for an `int`, `true` for a `bool`, and text only where the option is text, a path, a choice, or a size
with its suffix. Of a class with several mistakes the first is reported. What concerns several options at once is
checked in the class's `__attrs_post_init__`, which raises `ConfigError(problem, key=...)`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Literal,
    NewType,
    Protocol,
    Self,
    TypeAlias,
    Union,
    get_args,
    get_origin,
)

import attrs

from etherloom.config import scalars
from etherloom.errors import ConfigError, UsageError, nearest
from etherloom.kinds import NicModelKind

if TYPE_CHECKING:
    import cattrs

    from etherloom.kinds import NetClientKind

__all__ = [
    "GENERATED",
    "Fd",
    "OptionHelp",
    "Parsed",
    "Size",
    "describe",
    "fill",
    "names",
    "option",
    "plain",
    "structure",
]

GENERATED = "generated"
"""The default, in help texts, of a NIC model's `mac` that has none of its own (`etherloom.config.mac`)."""

Size = NewType("Size", int)
"""A number of bytes. Flat: with a suffix k, M, G, T, P or E of 1024 (`64k`, `1.5M`)."""

Fd = NewType("Fd", int)
"""An inherited file descriptor by number (O-13). QEMU's named descriptors come from its monitor, which is not here."""

Validator: TypeAlias = Callable[[Any, "attrs.Attribute[Any]", Any], None]


class Parsed(Protocol):
    """A type of one's own for an option: `etherloom.config.mac.Mac` is one.

    Attributes:
        allowed: What the text may be, for messages.
    """

    allowed: ClassVar[str]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text; raise ValueError with what is wrong with it."""


@attrs.frozen
class OptionHelp:
    """One option for help texts and tables.

    `default` is empty for None, `required` for none, and GENERATED for an address that the config makes up.
    """

    name: str
    type: str
    default: str
    help: str


def option(
    *,
    default: Any = attrs.NOTHING,
    help: str,  # noqa: A002 - the word every reader looks for
    metavar: str = "",
    name: str = "",
    minimum: int | None = None,
    maximum: int | None = None,
    validator: Validator | None = None,
) -> Any:
    """A field of an options class.

    Args:
        default: Its value where the config is silent; without one the option is mandatory.
        help: What it does, one line without a full stop.
        metavar: What to call its value in help texts; derived from the type when empty.
        name: The option's name where it is not the field's with `-` for `_`: QEMU has `vnet_hdr`. Either separator is
            accepted in configs.
        minimum: Least value of a number, inclusive.
        maximum: Largest value of a number, inclusive.
        validator: As attrs has it, run after the range check and not on None. It raises `ConfigError(problem,
            allowed=...)` or ValueError.
    """
    checks: list[Any] = []
    if minimum is not None or maximum is not None:
        checks.append(functools.partial(_check_range, minimum, maximum))
    if validator is not None:
        checks.append(functools.partial(_check_with, validator))
    return attrs.field(
        default=default,
        validator=attrs.validators.optional(checks) if checks else None,
        metadata={"help": help, "metavar": metavar, "name": name},
    )


def _check_range(
    minimum: int | None, maximum: int | None, _instance: object, attribute: attrs.Attribute[Any], value: int
) -> None:
    if (minimum is not None and value < minimum) or (maximum is not None and value > maximum):
        if maximum is None:
            allowed = f"at least {minimum}"
        elif minimum is None:
            allowed = f"at most {maximum}"
        else:
            allowed = f"{minimum} to {maximum}"
        raise ConfigError(f"{value} is out of range", key=_name_of(attribute), allowed=allowed)


def _check_with(validator: Validator, instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    try:
        validator(instance, attribute, value)
    except ConfigError as error:
        raise ConfigError(error.problem, key=error.key or _name_of(attribute), allowed=error.allowed) from None
    except ValueError as error:
        raise ConfigError(str(error), key=_name_of(attribute)) from None


def structure(row: NetClientKind, raw: Mapping[str, object], *, origin: str, flat: bool) -> Any:
    """Make an instance of a kind's options class from what a config says; see `fill`."""
    return fill(row.options, raw, what=f"kind {row.kind!r}", origin=origin, flat=flat)


def fill(options: type[Any], raw: Mapping[str, object], *, what: str, origin: str, flat: bool) -> Any:
    """Make an instance of an options class.

    Args:
        options: The class.
        raw: Option names and values. Flat: text, or a list of texts for a repeated key, of which an option that is
            no list takes the last, as in QEMU.
        what: What the options belong to, for messages.
        origin: The argument or the file and table, for messages.
        flat: Which spelling `raw` is in.

    Raises:
        ConfigError: A key is unknown or missing or its value is wrong; names origin, key, value and what is allowed.
        UsageError: The options class itself is not one this module can fill.
    """
    fields = _fields(options)
    values: dict[str, object] = {}
    for key, value in raw.items():
        field = fields.get(plain(key))
        if field is None:
            known = [_name_of(field) for field in fields.values()]
            hint = nearest(key, known)
            raise ConfigError(
                f"{what} has no such option" + (f"; {hint}" if hint else ""),
                origin=origin,
                key=key,
                allowed=", ".join(known) or "none at all",
            )
        values[field.name] = _occurrences(value, field.type) if flat else value
    for field in fields.values():
        if field.default is attrs.NOTHING and field.name not in values:
            raise ConfigError(f"{what} needs it", origin=origin, key=_name_of(field), allowed=_type_of(field))
    try:
        return _converter(flat).structure(values, options)
    except Exception as error:  # cattrs has no common base for what it raises
        raise _refusal(error, options, origin) from error


def names(options: type[Any]) -> frozenset[str]:
    """The options of a class, `plain`."""
    return frozenset(_fields(options))


def describe(row: NetClientKind) -> list[OptionHelp]:
    """Every option of a kind, in the class's order."""
    return [
        OptionHelp(
            _name_of(field),
            _type_of(field),
            GENERATED if _is_generated(row, field) else _default_of(field),
            field.metadata.get("help", ""),
        )
        for field in _fields(row.options).values()
    ]


def _is_generated(row: NetClientKind, field: attrs.Attribute[Any]) -> bool:
    return isinstance(row, NicModelKind) and _name_of(field) == "mac" and field.default in (attrs.NOTHING, None)


# The options class ------------------------------------------------------------------------------------------------


def _resolve(options: Any) -> dict[str, attrs.Attribute[Any]]:
    """The fields by plain name. Types are resolved, so that the class's module may postpone its annotations."""
    attrs.resolve_types(options)
    return {plain(_name_of(field)): field for field in attrs.fields(options) if field.init}


_fields: Callable[[Any], dict[str, attrs.Attribute[Any]]] = functools.cache(_resolve)  # once a class, not once a client


def plain(name: str) -> str:
    """A name as options are compared by: with `_` for `-`."""
    return name.replace("-", "_")


def _name_of(field: attrs.Attribute[Any]) -> str:
    return field.metadata.get("name") or field.name.rstrip("_").replace("_", "-")


def _inner(type_: Any) -> Any:
    """`X` of `X | None`, else the type itself."""
    if get_origin(type_) in (Union, UnionType):
        inner = [part for part in get_args(type_) if part is not NoneType]
        return inner[0] if len(inner) == 1 else type_
    return type_


def _is_list(type_: Any) -> bool:
    return get_origin(type_) in (list, tuple)


def _type_of(field: attrs.Attribute[Any]) -> str:
    return field.metadata.get("metavar") or _word(_inner(field.type))


def _word(type_: Any) -> str:
    """A type in a user's words."""
    if type_ is Size:
        return "size"
    if type_ is Fd:
        return "fd"
    if type_ is Path:
        return "path"
    if _is_list(type_):
        return f"list of {_word(get_args(type_)[0])}"
    choices = _choices(type_)
    return "|".join(choices) if choices else str(getattr(type_, "__name__", type_)).lower()


def _default_of(field: attrs.Attribute[Any]) -> str:
    default: Any = field.default
    if default is attrs.NOTHING:
        return "required"
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, Enum):
        return str(default.value)
    return "" if default is None or isinstance(default, (list, tuple, attrs.Factory)) else str(default)  # type: ignore[arg-type]


def _choices(type_: Any) -> dict[str, object]:
    """What a `Literal` or an enum lets one say, as text."""
    if get_origin(type_) is Literal:
        return {str(choice): choice for choice in get_args(type_)}
    if isinstance(type_, type) and issubclass(type_, Enum):
        return {str(member.value): member for member in type_}
    return {}


# The values -------------------------------------------------------------------------------------------------------


def _occurrences(value: object, type_: Any) -> object:
    texts = value if isinstance(value, list) else [value]
    return texts if _is_list(_inner(type_)) else texts[-1]


@functools.cache
def _converter(flat: bool) -> cattrs.Converter:
    """The converter of one spelling.

    cattrs is imported here and not above: every plugin imports this module, and listing plugins needs no converter.
    """
    from cattrs import Converter

    converter = Converter(detailed_validation=True)  # which names the attribute that failed

    for type_, reader in _READERS.items():
        converter.register_structure_hook(type_, _reading(reader, flat))
    converter.register_structure_hook_func(lambda type_: bool(_choices(type_)), _choose)
    converter.register_structure_hook_func(lambda type_: hasattr(type_, "parse"), _parse)
    converter.register_structure_hook_func(_is_list, functools.partial(_sequence, converter))
    return converter


_READERS: dict[Any, Callable[[Any, bool], Any]] = {
    str: scalars.text,
    int: scalars.integer,
    bool: scalars.boolean,
    Size: scalars.size,
    Fd: scalars.descriptor,
    Path: lambda value, flat: Path(scalars.text(value, flat)),
}


def _reading(reader: Callable[[Any, bool], Any], flat: bool) -> Callable[[Any, Any], Any]:
    return lambda value, _type: reader(value, flat)


def _choose(value: object, type_: Any) -> object:
    choices = _choices(type_)
    if not isinstance(value, bool) and str(value) in choices:
        return choices[str(value)]
    raise ConfigError(f"{scalars.shown(value)} is not a choice", allowed=", ".join(choices))


def _parse(value: object, type_: type[Parsed]) -> object:
    if not isinstance(value, str):
        raise ConfigError(f"{scalars.shown(value)} is not text", allowed=type_.allowed)
    try:
        return type_.parse(value)
    except ValueError as error:
        raise ConfigError(str(error), allowed=type_.allowed) from None


def _sequence(converter: cattrs.Converter, value: object, type_: Any) -> object:
    if not isinstance(value, list):
        raise ConfigError(f"{scalars.shown(value)} is not a list", allowed=_word(type_))
    items = [converter.structure(item, get_args(type_)[0]) for item in value]
    return items if get_origin(type_) is list else tuple(items)


def _refusal(error: Exception, options: type[Any], origin: str) -> ConfigError | UsageError:
    """What went wrong first, out of the tree of errors that cattrs makes. Its notes name the attributes."""
    shown = {field.name: _name_of(field) for field in _fields(options).values()}
    key = ""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
        for note in getattr(error, "__notes__", ()):
            key = shown.get(getattr(note, "name", ""), key)
    if isinstance(error, ConfigError):
        return ConfigError(error.problem, origin=error.origin or origin, key=error.key or key, allowed=error.allowed)
    if isinstance(error, ValueError):
        return ConfigError(str(error), origin=origin, key=key)
    return UsageError(f"{origin}: options class {options.__qualname__} cannot be filled: {error!r}")
