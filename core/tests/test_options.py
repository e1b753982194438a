"""Options classes: both spellings, and every mistake as one message."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etherloom.config.mac import Mac
from etherloom.config.options import Fd, OptionHelp, Size, describe, fill, option, structure
from etherloom.errors import ConfigError, UsageError
from etherloom.kinds import NetClientKind


class Mode(enum.Enum):
    """A choice."""

    NATIVE = "native"
    SKB = "skb"


def _even(_instance: object, _attribute: object, value: int) -> None:
    if value % 2:
        raise ValueError(f"{value} is odd")


@attrs.frozen(kw_only=True)
class Everything:
    """One option of each type."""

    text: str = option(default="", help="some text")
    number: int = option(default=1, minimum=1, maximum=8, help="a number in a range")
    least: int = option(default=0, minimum=0, help="a number with a lower bound")
    most: int | None = option(default=None, maximum=0, help="a number with an upper bound")
    even: int = option(default=0, validator=_even, help="a number with a validator")
    switch: bool = option(default=False, help="a switch")
    unset: bool | None = option(default=None, help="a switch with a third state")
    size: Size = option(default=Size(0), help="a size")
    fd: Fd | None = option(default=None, help="a descriptor")
    path: Path | None = option(default=None, metavar="file", help="a path")
    mode: Mode = option(default=Mode.SKB, help="a choice")
    word: Literal["a", "b"] = option(default="a", help="another choice")
    params: tuple[str, ...] = option(default=(), help="a list")
    ports: list[int] | None = option(default=None, help="a list of numbers")
    mac: Mac | None = option(default=None, help="a type of its own")
    br_create: bool = option(default=False, help="a name with a dash")
    vnet_hdr: bool = option(default=False, name="vnet_hdr", help="a name with an underscore")
    from_: str = option(default="", help="a keyword")


@attrs.frozen(kw_only=True)
class Exclusive:
    """Options that concern each other."""

    fd: Fd = option(help="mandatory")
    script: str = option(default="", help="not with fd 0")

    def __attrs_post_init__(self) -> None:
        if self.script and not self.fd:
            raise ConfigError("is invalid with fd 0", key="script")


def row(options: type[Any]) -> NetClientKind:
    def init(*_: object) -> Any:
        raise AssertionError("structuring makes no client")

    return NetClientKind(kind="thing", options=options, init=init, summary="a thing")


def flat(**raw: object) -> Everything:
    made = structure(
        row(Everything), {key.replace("__", "-"): value for key, value in raw.items()}, origin="-x", flat=True
    )
    assert isinstance(made, Everything)
    return made


def typed(**raw: object) -> Everything:
    made = structure(row(Everything), raw, origin="x.toml", flat=False)
    assert isinstance(made, Everything)
    return made


def refusal(**raw: object) -> str:
    with pytest.raises(ConfigError) as caught:
        flat(**raw)
    return str(caught.value)


def typed_refusal(**raw: object) -> str:
    with pytest.raises(ConfigError) as caught:
        typed(**raw)
    return str(caught.value)


EXAMPLE = Everything(
    text="x",
    number=3,
    most=-1,
    switch=True,
    unset=False,
    size=Size(1536),
    fd=Fd(4),
    path=Path("/etc/x"),
    mode=Mode.NATIVE,
    word="b",
    params=("p", "q"),
    ports=[1, 2],
    mac=Mac.parse("52:54:00:00:00:01"),
    br_create=True,
    vnet_hdr=True,
    from_="y",
)


def test_the_flat_spelling_fills_every_type() -> None:
    assert EXAMPLE == flat(
        text="x",
        number="3",
        most="-1",
        switch="on",
        unset="off",
        size="1.5k",
        fd="4",
        path="/etc/x",
        mode="native",
        word="b",
        params=["p", "q"],
        ports=["1", "0x2"],
        mac="52:54:00:00:00:01",
        br__create="on",
        vnet_hdr="y",
        **{"from": "y"},
    )


def test_the_typed_spelling_fills_every_type() -> None:
    assert EXAMPLE == typed(
        text="x",
        number=3,
        most=-1,
        switch=True,
        unset=False,
        size="1.5k",
        fd=4,
        path="/etc/x",
        mode="native",
        word="b",
        params=["p", "q"],
        ports=[1, 2],
        mac="52:54:00:00:00:01",
        br_create=True,
        vnet_hdr=True,
        **{"from": "y"},
    )


def test_silence_leaves_the_defaults() -> None:
    assert Everything() == flat()


@pytest.mark.parametrize("key", ["br-create", "br_create", "vnet-hdr", "vnet_hdr"])
def test_dash_and_underscore_are_the_same_in_a_key(key: str) -> None:
    made = structure(row(Everything), {key: "on"}, origin="-x", flat=True)
    assert made.br_create or made.vnet_hdr


def test_a_repeated_key_gives_its_last_value_to_what_is_no_list() -> None:
    """As observed: `hubid=0,hubid=5` is hub 5."""
    assert Everything(number=5) == flat(number=["0", "5"])


def test_one_value_makes_a_list_of_one() -> None:
    """O-07."""
    assert Everything(params=("p",)) == flat(params="p")


@pytest.mark.parametrize(
    ("text", "number"), [("8", 8), ("0x10", 16), ("0X1f", 31), ("010", 8), ("+1", 1), (" 1", 1), ("00", 0)]
)
def test_integers_read_as_in_c(text: str, number: int) -> None:
    assert Everything(least=number) == flat(least=text)


@pytest.mark.parametrize("text", ["", "on", "1k", "09", "0x", "0b1", "1_000", "1 ", "1.0", "９", "9" * 50])  # noqa: RUF001
def test_what_is_no_integer_is_refused(text: str) -> None:
    assert f"-x: least: {text!r} is not a whole number (allowed: a number such as 10, 0x1f or 017)" == refusal(
        least=text
    )


def test_an_integer_beyond_64_bits_is_refused() -> None:
    assert "-x: least: 9223372036854775808 is out of range (allowed: 64 bits, signed)" == refusal(
        least="9223372036854775808"
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", True),
        ("yes", True),
        ("true", True),
        ("y", True),
        ("off", False),
        ("no", False),
        ("false", False),
        ("n", False),
    ],
)
def test_eight_words_are_booleans(text: str, value: bool) -> None:
    assert Everything(switch=value) == flat(switch=text)


@pytest.mark.parametrize("text", ["", "ON", "True", "t", "1", "0"])
def test_no_other_word_is_a_boolean(text: str) -> None:
    expected = f"-x: switch: {text!r} is neither on nor off (allowed: on, yes, true, y, off, no, false, n)"
    assert expected == refusal(switch=text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("010", 10),
        ("1b", 1),
        ("1k", 1024),
        ("1K", 1024),
        ("1.3M", 1363149),
        ("1.k", 1024),
        ("2G", 2 << 30),
        ("1T", 1 << 40),
        ("1P", 1 << 50),
        ("1e", 1 << 60),
        ("0x1E", 30),
    ],
)
def test_sizes_have_suffixes_of_1024(text: str, number: int) -> None:
    assert Everything(size=Size(number)) == flat(size=text) == typed(size=text)


@pytest.mark.parametrize("text", ["", "1kk", "1kB", "1e3", ".5k", "1.5", "1.5b", "-1", "inf", "0x1k"])
def test_what_is_no_size_is_refused(text: str) -> None:
    expected = f"-x: size: {text!r} is not a size (allowed: bytes, or with a suffix of 1024: k, M, G, T, P, E)"
    assert expected == refusal(size=text)


def test_a_size_beyond_64_bits_is_refused() -> None:
    assert "-x: size: '16E' is out of range (allowed: 0 to 2^64 - 1)" == refusal(size="16E")


@pytest.mark.parametrize("text", ["", "-1", "name", "0x3", "2147483648"])
def test_a_descriptor_is_a_number(text: str) -> None:
    """O-13: named descriptors come from QEMU's monitor."""
    expected = f"-x: fd: {text!r} is not a file descriptor (allowed: the number of an fd that was inherited open)"
    assert expected == refusal(fd=text)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"number": "9"}, "-x: number: 9 is out of range (allowed: 1 to 8)"),
        ({"least": "-1"}, "-x: least: -1 is out of range (allowed: at least 0)"),
        ({"most": "1"}, "-x: most: 1 is out of range (allowed: at most 0)"),
        ({"even": "3"}, "-x: even: 3 is odd"),
        ({"mode": "fast"}, "-x: mode: 'fast' is not a choice (allowed: native, skb)"),
        ({"word": "c"}, "-x: word: 'c' is not a choice (allowed: a, b)"),
        ({"mac": "zz"}, f"-x: mac: 'zz' is not a MAC address (allowed: {Mac.allowed})"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(raw: dict[str, object], message: str) -> None:
    """O-06."""
    assert message == refusal(**raw)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"text": 1}, "x.toml: text: 1 is not text (allowed: text in quotes)"),
        ({"number": "3"}, "x.toml: number: '3' is not a whole number (allowed: a number without quotes)"),
        ({"number": True}, "x.toml: number: true is not a whole number (allowed: a number without quotes)"),
        ({"number": 3.0}, "x.toml: number: 3.0 is not a whole number (allowed: a number without quotes)"),
        ({"switch": "on"}, "x.toml: switch: 'on' is not a boolean (allowed: true or false, without quotes)"),
        ({"switch": 1}, "x.toml: switch: 1 is not a boolean (allowed: true or false, without quotes)"),
        (
            {"size": True},
            "x.toml: size: true is not a size (allowed: bytes, or with a suffix of 1024: k, M, G, T, P, E)",
        ),
        ({"size": -1}, "x.toml: size: -1 is out of range (allowed: 0 to 2^64 - 1)"),
        ({"path": 1}, "x.toml: path: 1 is not text (allowed: text in quotes)"),
        ({"params": "abc"}, "x.toml: params: 'abc' is not a list (allowed: list of str)"),
        ({"params": ["a", 1]}, "x.toml: params: 1 is not text (allowed: text in quotes)"),
        ({"mac": 1}, f"x.toml: mac: 1 is not text (allowed: {Mac.allowed})"),
        ({"mode": True}, "x.toml: mode: true is not a choice (allowed: native, skb)"),
        ({"text": {"a": "b" * 99}}, "x.toml: text: {'a': '" + "b" * 70 + "... is not text (allowed: text in quotes)"),
    ],
)
def test_the_typed_spelling_converts_nothing(raw: dict[str, object], message: str) -> None:
    assert message == typed_refusal(**raw)


def test_an_unknown_option_names_the_nearest_and_all() -> None:
    """O-06."""
    with pytest.raises(ConfigError) as caught:
        structure(row(Exclusive), {"fd": "3", "scrip": "x"}, origin="-x", flat=True)
    expected = "-x: scrip: kind 'thing' has no such option; did you mean 'script'? (allowed: fd, script)"
    assert expected == str(caught.value)


def test_a_missing_option_is_named() -> None:
    """O-06."""
    with pytest.raises(ConfigError) as caught:
        structure(row(Exclusive), {}, origin="-x", flat=True)
    assert "-x: fd: kind 'thing' needs it (allowed: fd)" == str(caught.value)


def test_a_check_of_the_whole_class_names_its_key() -> None:
    with pytest.raises(ConfigError) as caught:
        structure(row(Exclusive), {"fd": "0", "script": "x"}, origin="-x", flat=True)
    assert "-x: script: is invalid with fd 0" == str(caught.value)


def test_a_class_with_a_type_that_cannot_be_filled_is_its_authors_mistake() -> None:
    @attrs.frozen(kw_only=True)
    class Odd:
        thing: Any = option(default=None, help="")
        number: complex = option(default=0j, help="")

    with pytest.raises(UsageError, match=r"-x: options class .*Odd cannot be filled"):
        fill(Odd, {"number": object()}, what="kind 'odd'", origin="-x", flat=False)


def test_options_describe_themselves() -> None:
    expected = [
        OptionHelp("text", "str", "", "some text"),
        OptionHelp("number", "int", "1", "a number in a range"),
        OptionHelp("least", "int", "0", "a number with a lower bound"),
        OptionHelp("most", "int", "", "a number with an upper bound"),
        OptionHelp("even", "int", "0", "a number with a validator"),
        OptionHelp("switch", "bool", "off", "a switch"),
        OptionHelp("unset", "bool", "", "a switch with a third state"),
        OptionHelp("size", "size", "0", "a size"),
        OptionHelp("fd", "fd", "", "a descriptor"),
        OptionHelp("path", "file", "", "a path"),
        OptionHelp("mode", "native|skb", "skb", "a choice"),
        OptionHelp("word", "a|b", "a", "another choice"),
        OptionHelp("params", "list of str", "", "a list"),
        OptionHelp("ports", "list of int", "", "a list of numbers"),
        OptionHelp("mac", "mac", "", "a type of its own"),
        OptionHelp("br-create", "bool", "off", "a name with a dash"),
        OptionHelp("vnet_hdr", "bool", "off", "a name with an underscore"),
        OptionHelp("from", "str", "", "a keyword"),
    ]
    assert expected == describe(row(Everything))


def test_a_mandatory_option_describes_itself_as_required() -> None:
    assert OptionHelp("fd", "fd", "required", "mandatory") == describe(row(Exclusive))[0]


def filled_or_refused(raw: dict[str, object], *, origin: str, flat: bool) -> bool:
    """Either an instance, or one ConfigError with its origin and a key that was given."""
    try:
        return isinstance(structure(row(Everything), raw, origin=origin, flat=flat), Everything)
    except ConfigError as error:
        return error.origin == origin and error.key in raw


KEYS = [help_.name for help_ in describe(row(Everything))]
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["on", "0x1", "1k", "a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(KEYS), st.lists(st.text(), min_size=1)))
def test_flat_text_is_filled_in_or_refused(raw: dict[str, object]) -> None:
    assert filled_or_refused(raw, origin="-x", flat=True)


@given(st.dictionaries(st.sampled_from(KEYS), values))
def test_typed_values_are_filled_in_or_refused(raw: dict[str, object]) -> None:
    assert filled_or_refused(raw, origin="x.toml", flat=False)
