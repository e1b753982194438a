"""QEMU's flat option syntax. What QEMU does with each text was observed on 7.2."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etherloom.config.flat import format_pairs, grouped, parse
from etherloom.errors import UsageError


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("tap,id=a,ifname=tap0", [("type", "tap"), ("id", "a"), ("ifname", "tap0")]),
        ("id=a,type=tap", [("id", "a"), ("type", "tap")]),
        ("tap,script=a,,b", [("type", "tap"), ("script", "a,b")]),
        ("tap,script=,,", [("type", "tap"), ("script", ",")]),
        ("tap,script=a,,,id=b", [("type", "tap"), ("script", "a,"), ("id", "b")]),
        ("a,,b,id=c", [("type", "a,b"), ("id", "c")]),
        ("tap,vhost", [("type", "tap"), ("vhost", "on")]),
        ("tap,novhost", [("type", "tap"), ("vhost", "off")]),
        ("tap,node", [("type", "tap"), ("de", "off")]),
        ("tap,no", [("type", "tap"), ("", "off")]),
        ("tap,id=a,", [("type", "tap"), ("id", "a")]),
        (",hubport", [("type", ""), ("hubport", "on")]),
        ("tap,,", [("type", "tap,")]),
        ("tap,id=a,=x", [("type", "tap"), ("id", "a"), ("", "x")]),
        ("tap,script=a=b", [("type", "tap"), ("script", "a=b")]),
        ("tap,,id=b", [("type", "tap,id=b")]),
        ("tap,vhost,,id=b", [("type", "tap"), ("vhost", "on"), ("", "on"), ("id", "b")]),
        ("", []),
    ],
)
def test_a_text_reads_as_qemu_reads_it(text: str, pairs: list[tuple[str, str]]) -> None:
    assert pairs == parse(text, "type")


def test_repeated_keys_keep_their_order() -> None:
    assert {"a": ["1", "3"], "b": ["2"]} == grouped([("a", "1"), ("b", "2"), ("a", "3")])


def test_a_value_with_an_equals_sign_is_not_left_to_the_implied_key() -> None:
    assert "type=a=b" == format_pairs([("type", "a=b")], "type")


def test_a_key_that_the_syntax_cannot_say_is_refused() -> None:
    with pytest.raises(UsageError, match="'a,b'"):
        format_pairs([("a,b", "c")], "type")


keys = st.one_of(st.sampled_from(["type", "id", "no", "noid", ""]), st.text()).filter(
    lambda key: "," not in key and "=" not in key
)


@given(st.lists(st.tuples(keys, st.one_of(st.text(), st.text(alphabet=",=a")))))
def test_what_is_written_reads_back(pairs: list[tuple[str, str]]) -> None:
    assert pairs == parse(format_pairs(pairs, "type"), "type")


@given(st.one_of(st.text(), st.text(alphabet=",=no")))
def test_any_text_has_a_reading(text: str) -> None:
    pairs = parse(text, "type")
    assert pairs == parse(format_pairs(pairs, "type"), "type")
