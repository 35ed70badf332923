"""Rows ↔ Parquet: what was written is what is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from selfalign.errors import StoreError
from selfalign.tables import disk_error, read_rows, write_rows
from selfalign.types import (
    ROW_TYPES,
    AnswerScore,
    Chat,
    Choice,
    Demonstration,
    Dropped,
    Grade,
    HealthMeasure,
    Instruction,
    Item,
    Message,
    MultipleChoice,
    OptionScores,
    Pair,
    PairScore,
    Probe,
    Result,
    Score,
    SetMeasure,
    Text,
    Uncertainty,
)

texts = some.text(some.characters(exclude_categories=["Cs"]), max_size=12)
numbers = some.floats(allow_nan=False)
prompts = some.lists(
    some.builds(Message, role=some.sampled_from(["system", "user", "assistant"]), content=texts), max_size=3
).map(tuple)
ROWS: dict[type, Any] = {
    Chat: some.builds(
        Chat, id=texts, prompt=prompts, answer=some.none() | texts, finished=some.booleans(),
        parents=some.lists(texts, max_size=3).map(tuple),
    ),
    Pair: some.builds(
        Pair, id=texts, prompt=prompts, chosen=texts, rejected=texts, chosen_finished=some.booleans(),
        rejected_finished=some.booleans(),
    ),
    Instruction: some.builds(Instruction, id=texts, prompt=prompts, checks=texts),
    Item: some.builds(Item, id=texts, prompt=prompts, given=texts),
    MultipleChoice: some.builds(
        MultipleChoice, id=texts, prompt=prompts, options=some.lists(texts, max_size=3).map(tuple),
        right=some.lists(some.integers(0, 9), max_size=3).map(tuple), best=some.none() | some.integers(0, 9),
        category=texts,
    ),
    OptionScores: some.builds(
        OptionScores, id=texts, log_probabilities=some.lists(numbers, max_size=3).map(tuple),
        tokens=some.lists(some.integers(0, 2**40), max_size=3).map(tuple),
    ),
    Probe: some.builds(Probe, id=texts, kind=texts, topic=texts, question=texts),
    Demonstration: some.builds(Demonstration, id=texts, prompt=prompts, thought=texts, answer=texts),
    AnswerScore: some.builds(
        AnswerScore, id=texts, log_probability=numbers, tokens=some.integers(0, 2**40), cut=some.booleans()
    ),
    Text: some.builds(
        Text, id=texts, text=texts, source=texts, heading=texts, parents=some.lists(texts, max_size=3).map(tuple)
    ),
    Grade: some.builds(
        Grade, id=texts, rubric=texts, value=some.none() | numbers, reply=texts, why_unread=texts,
        entropy=some.none() | numbers,
    ),
    Uncertainty: some.builds(
        Uncertainty, id=texts, tokens=some.integers(0, 2**40), logit=numbers, logit_margin=numbers,
        probability=numbers, probability_margin=numbers, entropy=numbers,
    ),
    Score: some.builds(Score, id=texts, value=some.none() | numbers, why=texts),
    Choice: some.builds(
        Choice, id=texts, order=some.integers(0, 2**40), by=texts, value=some.none() | numbers,
        nearest=some.none() | texts,
    ),
    SetMeasure: some.builds(
        SetMeasure, id=texts, says=texts, chosen=some.none() | numbers, pool=some.none() | numbers
    ),
    HealthMeasure: some.builds(
        HealthMeasure, id=texts, value=some.none() | numbers, of=some.integers(0, 2**40), why=texts
    ),
    PairScore: some.builds(PairScore, id=texts, chosen=numbers, rejected=numbers),
    Result: some.builds(Result, id=texts, suite=texts, value=some.none() | numbers, reply=texts, why=texts),
    Dropped: some.builds(Dropped, id=texts, reason=texts),
}  # fmt: skip


@pytest.mark.parametrize("row_type", ROW_TYPES.values(), ids=ROW_TYPES.keys())
def test_every_row_type_reads_back_as_written(row_type: type, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.parquet"

    @settings(deadline=None)
    @given(some.lists(ROWS[row_type], max_size=4))
    def check(rows: list[Any]) -> None:
        write_rows(path, rows, row_type)
        assert list(read_rows(path, row_type)) == rows

    check()


def test_long_and_odd_texts_survive(tmp_path: Path) -> None:
    answers = ["🌍👩‍👩‍👧", "\0 nul", "\r\n\t", " ", "", "x" * 100_000, "שלום مرحبا", "\ufeffmark"]
    rows = [Chat(id=str(number), prompt=(), answer=answer) for number, answer in enumerate(answers)]
    write_rows(tmp_path / "rows.parquet", rows, Chat)
    assert list(read_rows(tmp_path / "rows.parquet", Chat)) == rows


def test_half_a_surrogate_pair_is_replaced_wherever_it_stands(tmp_path: Path) -> None:
    prompt = (Message(role="user", content="a\ud83d"),)
    row = Chat(id="one\udc00", prompt=prompt, answer="\ud800b", parents=("\udfff",))
    write_rows(tmp_path / "rows.parquet", [row], Chat)
    (read,) = read_rows(tmp_path / "rows.parquet", Chat)
    assert (read.id, read.prompt[0].content, read.answer, read.parents) == ("one?", "a?", "?b", ("?",))


def test_an_unreadable_number_stays_apart_from_nought_and_nothing(tmp_path: Path) -> None:
    rows = [Result(id=str(value), suite="s", value=value) for value in (None, 0.0, -0.0, 1e-310, float("inf"))]
    write_rows(tmp_path / "rows.parquet", rows, Result)
    assert [repr(row.value) for row in read_rows(tmp_path / "rows.parquet", Result)] == [repr(r.value) for r in rows]


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"not a table"])
def test_a_file_that_is_no_table_is_named_with_the_remedy(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(damage)
    with pytest.raises(StoreError, match=r"rows\.parquet.*selfalign doctor"):
        list(read_rows(path, Chat))


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "rows.parquet"
    with pytest.raises(StoreError, match="cannot write"):
        write_rows(path, [], Chat)
    assert list(tmp_path.iterdir()) == []


def test_a_message_about_the_disk_is_not_wrapped_in_another(tmp_path: Path) -> None:
    first = disk_error(tmp_path / "inner", OSError(28, "No space left on device"))
    assert disk_error(tmp_path / "outer", first) is first
    assert "Free some space" in str(first)
    assert "Free some space" not in str(disk_error(tmp_path, PermissionError(13, "Permission denied")))
