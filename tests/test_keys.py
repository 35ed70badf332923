"""Keys: equal calls have one name, different calls have different names."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as some

from selfalign.keys import Call, canonical, canonical_text, seed_of
from selfalign.types import Dpo, Lora, Matrix, Model, Optimisation, Sampling, Source, Table

unhurried = hypothesis_settings(deadline=None)
plain_values = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False, allow_infinity=False) | some.text(),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def key(**arguments: Any) -> str:
    return Call("stage", 1, {name: canonical(value) for name, value in arguments.items()}).key


@unhurried
@given(some.dictionaries(some.text(max_size=8), plain_values, max_size=6))
def test_the_order_of_a_mapping_enters_no_key(mapping: dict[str, Any]) -> None:
    backwards = dict(reversed(list(mapping.items())))
    assert key(value=mapping) == key(value=backwards)


@unhurried
@given(plain_values)
def test_canonical_text_reads_back_as_the_same_value(value: Any) -> None:
    text = canonical_text(canonical(value))
    assert json.loads(text) == value
    assert canonical_text(json.loads(text)) == text


@unhurried
@given(plain_values, plain_values)
def test_two_values_share_a_key_only_if_they_share_their_text(one: Any, other: Any) -> None:
    assert (key(value=one) == key(value=other)) == (canonical_text(one) == canonical_text(other))


def test_true_is_not_one_and_one_is_not_one_point_nought() -> None:
    assert len({key(value=True), key(value=1), key(value=1.0), key(value="1"), key(value=None), key(value=[1])}) == 6


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_equals_nothing_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="cannot be an argument"):
        canonical({"deep": [Sampling(temperature=value)]})


@pytest.mark.parametrize("value", [object(), {1: 2}, Sampling, b"bytes", {1, 2}, 1j])
def test_what_is_no_plain_data_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        canonical(value)


@pytest.mark.parametrize("settings", [Sampling(), Lora(), Optimisation(), Dpo()])
def test_a_field_that_equals_its_default_enters_no_key_and_every_other_value_does(settings: Any) -> None:
    said = {item.name: getattr(settings, item.name) for item in fields(settings)}
    assert canonical(type(settings)(**said)) == {"type": type(settings).__name__}
    keys = {key(value=settings)}
    for name, value in said.items():
        other = f"{value} else" if isinstance(value, str) else 7 if not isinstance(value, tuple) else ("q_proj",)
        keys.add(key(value=replace(settings, **{name: other})))
    assert len(keys) == len(said) + 1


def test_stage_version_and_the_name_of_an_argument_enter_the_key() -> None:
    calls = [Call("a", 1, {"x": 1}), Call("b", 1, {"x": 1}), Call("a", 2, {"x": 1}), Call("a", 1, {"y": 1})]
    assert len({call.key for call in calls}) == 4


def test_handles_count_by_content_and_kind_and_never_by_place() -> None:
    assert key(value=Model("path:here", "abc")) == key(value=Model("path:there", "abc"))
    assert key(value=Model("path:here", "abc")) != key(value=Model("path:here", "abd"))
    assert key(value=Source("a.jsonl", "abc")) == key(value=Source("b.jsonl", "abc"))
    assert key(value=Source("a.jsonl", "abc")) != key(value=Source("a.jsonl", "abc", limit=3))
    assert len({key(value=Table("abc")), key(value=Matrix("abc")), key(value=Model("abc")), key(value="abc")}) == 4


def test_keys_and_seeds_of_today_are_those_of_tomorrow() -> None:
    call = Call("generate", 1, {"model": canonical(Model("scripted:novice")), "sampling": canonical(Sampling(top_k=5))})
    assert call.key == "8d7fc4ee59960aeed564a4dd0bb1dd39"
    assert [seed_of(42, "row-1"), seed_of(42), seed_of("42"), seed_of("é", 0)] == [
        5276096515176553539,
        7014992390951794165,
        4692840178144460848,
        597735559850190747,
    ]


@unhurried
@given(some.lists(some.integers() | some.text(), max_size=3), some.lists(some.integers() | some.text(), max_size=3))
def test_a_seed_has_63_bits_and_differs_by_part(one: list[Any], other: list[Any]) -> None:
    assert 0 <= seed_of(*one) < 2**63
    assert (seed_of(*one) == seed_of(*other)) == (one == other)


def test_parts_of_a_seed_do_not_run_together() -> None:
    assert (
        len({seed_of("ab", "c"), seed_of("a", "bc"), seed_of("abc"), seed_of(1, 2), seed_of(12), seed_of("1", 2)}) == 6
    )


def test_a_value_equal_to_a_default_but_of_another_kind_is_no_default() -> None:
    for other in (Sampling(top_k=False), Sampling(temperature=True), Sampling(top_p=1)):
        assert key(value=other) != key(value=Sampling())
