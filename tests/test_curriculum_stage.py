"""Splitting prompts over rounds: by chance, or from easy to hard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from canned import Bench, planted_scores, user
from planting import planted_chats
from selfalign.errors import RecipeError
from selfalign.stages.curriculum import part_of
from selfalign.types import Chat, Score


def prompts(count: int) -> tuple[Chat, ...]:
    return tuple(Chat(id=f"row-{number}", prompt=user(f"Say {number}.")) for number in range(count))


def split(
    bench: Bench, count: int, *, of: int, values: Mapping[int, float | None] | None = None, clipped: float = 0.0
) -> list[list[int]]:
    """The numbers of the prompts in every part; `values` are the difficulties of some."""
    scores = tuple(Score(id=f"row-{number}", value=value) for number, value in (values or {}).items())

    def part(number: int) -> list[int]:
        table = bench.asked(
            lambda: part_of(
                planted_chats(prompts(count)), () if values is None else (planted_scores(scores),),
                number=number, of=of, clipped=clipped, seed=1,
            )
        )  # fmt: skip
        return [int(row.id.removeprefix("row-")) for row in bench.rows(table)]

    return [part(number) for number in range(of)]


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=some.integers(1, 40), of=some.integers(1, 8), scored=some.booleans(), clipped=some.floats(0, 0.99))
def test_parts_are_disjoint_equal_whole_and_never_empty(
    count: int, of: int, scored: bool, clipped: float, tmp_path: Path
) -> None:
    if count < of:
        return
    values = {number: float(-number % 7) for number in range(0, count, 2)} if scored else None
    found = split(Bench(tmp_path), count, of=of, values=values, clipped=clipped)
    together = [number for part in found for number in part]
    assert len(together) == len(set(together))
    assert scored or set(together) == set(range(count))
    sizes = [len(part) for part in found]
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= 1


def test_the_easiest_come_first_ties_as_given_and_what_has_no_score_last(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    values: dict[int, float | None] = {0: 2.0, 1: None, 2: 1.0, 4: 2.0, 5: 1.5, 3: 1.5}
    assert split(bench, 7, of=2, values=values) == [[2, 3, 5], [0, 4, 1, 6]]


def test_the_clipped_share_of_the_scored_is_dropped_in_the_order_of_scores(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    values = {number: float(10 - number) for number in range(10)}
    assert split(bench, 12, of=2, values=values, clipped=0.29) == [[7, 6, 5, 4, 3], [2, 1, 0, 10, 11]]
    table = bench.asked(
        lambda: part_of(
            planted_chats(prompts(12)),
            (planted_scores(tuple(Score(id=f"row-{number}", value=value) for number, value in values.items())),),
            number=0, of=2, clipped=0.29, seed=1,
        )
    )  # fmt: skip
    assert [row.id for row in bench.store.dropped(table.key)] == ["row-9", "row-8"]
    assert bench.reasons(table) == [
        "degenerate: its difficulty 1 is among the lowest 29 %",
        "degenerate: its difficulty 2 is among the lowest 29 %",
    ]
    assert bench.notes(table)["without_difficulty"] == 2


def test_a_share_that_would_leave_a_part_empty_is_clipped_less(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    values = {number: float(number) for number in range(5)}
    assert split(bench, 5, of=4, values=values, clipped=0.9) == [[1], [2], [3], [4]]


def test_a_shuffle_depends_on_the_seed_and_the_ids_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (whole,) = split(bench, 20, of=1)
    (fewer,) = split(bench, 15, of=1)
    assert [number for number in whole if number < 15] == fewer
    assert whole != sorted(whole)


def test_more_parts_than_prompts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"3 prompts cannot be split over 4 rounds"):
        split(Bench(tmp_path), 3, of=4)
