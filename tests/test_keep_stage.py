"""Which rows are kept: by the lowest of several grades, by rules, by surprise, by density; every refusal says why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

from planting import planted_chats, planted_grades
from selfalign.engines.scripted import ScriptedEngine
from selfalign.errors import NothingLeft, StageError
from selfalign.executors.local import Here
from selfalign.run import Run
from selfalign.stage import Size, Vectors, asking, stage
from selfalign.stages.keep import (
    kept_by_grade,
    kept_by_perplexity,
    lowest_grade,
    one_of_each_cluster,
    sound_answers,
    whole_pairs,
)
from selfalign.store import Store
from selfalign.synthesis.answer_filters import AnswerFilter
from selfalign.trainers.scripted import ScriptedTrainer
from selfalign.types import AnswerScore, Chat, Grade, Message, Table
from selfalign.work import keep_matrix


def as_many(size: Any, given: tuple[Any, ...]) -> Size:
    return Size(rows=len(given))


@stage(version=1, needs="driver", expect=as_many)
def planted_scores(given: tuple[AnswerScore, ...]) -> Iterator[AnswerScore]:
    yield from given


@stage(version=1, needs="driver", expect=as_many)
def planted_vectors(given: tuple[tuple[str, float], ...]) -> Vectors:
    keep_matrix([name for name, _ in given], numpy.array([[value, 0.0] for _, value in given], dtype=numpy.float32))
    return Vectors()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    made = Run(Store(tmp_path / "store"), Here(), ScriptedEngine(), ScriptedTrainer(), ())
    with asking(made):
        yield made


def chats(*answers: str) -> Table[Chat]:
    return planted_chats(
        tuple(
            Chat(id=f"row-{n}", prompt=(Message(role="user", content=f"question {n}"),), answer=answer)
            for n, answer in enumerate(answers)
        )
    )


def grades(rubric: str, *values: float | None) -> Table[Grade]:
    return planted_grades(
        tuple(
            Grade(id=f"row-{n}", rubric=rubric, value=value, why_unread="" if value is not None else "no score line")
            for n, value in enumerate(values)
        )
    )


def scores(*values: tuple[float, int, bool]) -> Table[AnswerScore]:
    return planted_scores(
        tuple(
            AnswerScore(id=f"row-{n}", log_probability=-nats * tokens, tokens=tokens, cut=cut)
            for n, (nats, tokens, cut) in enumerate(values)
        )
    )


def ids(run: Run, table: Table[Any]) -> list[str]:
    return [row.id for row in run.store.rows(table.key)]


def reasons(run: Run, table: Table[Any]) -> dict[str, str]:
    return {row.id: row.reason for row in run.store.dropped(table.key)}


def test_the_lowest_grade_decides_and_a_missing_one_is_none(run: Run) -> None:
    both = (grades("quality", 9, 10, None, 3), grades("following", 10, 8, 10, 2))
    lowest = list(run.store.rows(lowest_grade(both).key))
    assert [one.value for one in lowest] == [9, 8, None, 2]
    assert lowest[2].why_unread == "no score line"
    assert {one.rubric for one in lowest} == {"quality + following"}
    assert "[quality: 10; following: 8]" in lowest[1].reply


def test_grades_of_different_rows_never_meet(run: Run) -> None:
    other = planted_grades((Grade(id="another", rubric="following", value=9),))
    with pytest.raises(StageError, match="grades of different rows met: 'row-0', 'another'"):
        lowest_grade((grades("quality", 9), other))


def test_strictly_means_that_the_threshold_itself_is_not_enough(run: Run) -> None:
    given = grades("quality", 8, 8.5, 9, None)
    table = chats("a", "b", "c", "d")
    assert ids(run, kept_by_grade(table, given, threshold=8)) == ["row-0", "row-1", "row-2"]
    strict = kept_by_grade(table, given, threshold=8, strictly=True)
    assert ids(run, strict) == ["row-1", "row-2"]
    assert reasons(run, strict) == {"row-0": "grade 8 does not exceed 8", "row-3": "not graded: no score line"}


def test_answers_that_break_a_rule_are_named_and_counted(run: Run) -> None:
    kept = sound_answers(chats("Iron.", "", "User: more?", "Tin.\n\nAnd you?"), filters=AnswerFilter())
    assert ids(run, kept) == ["row-0"]
    assert run.store.record(kept.key)["notes"]["refused"] == {"empty": 1, "role_markers": 1, "follow_up": 1}
    assert reasons(run, kept)["row-2"] == "refused by role_markers: “User: more?”"


def test_without_a_sound_answer_the_rules_are_told(run: Run) -> None:
    with pytest.raises(NothingLeft, match="2: refused by empty"):
        sound_answers(chats("", " "), filters=AnswerFilter())
    with pytest.raises(NothingLeft, match="the stage before it dropped every prompt"):
        sound_answers(chats(), filters=AnswerFilter())


def test_a_row_is_kept_if_all_its_perplexities_are_below_the_bound(run: Run) -> None:
    alone = scores((1.0, 3, False), (5.0, 3, False), (1.0, 3, False), (1.0, 0, False), (numpy.log(50.0), 4, False))
    whole = scores((2.0, 9, False), (1.0, 9, False), (1.0, 9, True), (1.0, 9, False), (1.0, 9, False))
    kept = kept_by_perplexity(chats("a", "b", "c", "d", "e"), (alone, whole), max_perplexity=50.0)
    assert ids(run, kept) == ["row-0"]
    found = reasons(run, kept)
    assert found["row-1"] == "perplexity 148 is not below 50"
    assert "cannot be told" in found["row-2"]
    assert "cannot be told" in found["row-3"]
    assert found["row-4"] == "perplexity 50 is not below 50"


def test_pairs_as_one_text_keep_their_ids(run: Run) -> None:
    (row,) = run.store.rows(whole_pairs(chats("Iron.")).key)
    assert (row.id, row.answer) == ("row-0", "question 0\nIron.")


GROUPS = tuple((f"row-{n}", value) for n, value in enumerate((0.0, 0.1, 0.2, 5.0, 5.1, 9.0)))


def test_one_row_stands_for_each_cluster(run: Run) -> None:
    table = chats(*"abcdef")
    several = {tuple(ids(run, one_of_each_cluster(table, planted_vectors(GROUPS), (), clusters=3, seed=seed)))
               for seed in range(8)}  # fmt: skip
    assert len(several) > 1, "which one is drawn"
    for kept in several:
        assert [sum(name in kept for name in group) for group in (("row-0", "row-1", "row-2"), ("row-3", "row-4"))] == [
            1,
            1,
        ]
        assert "row-5" in kept


def test_the_least_surprising_row_stands_for_a_cluster_and_a_cut_one_last(run: Run) -> None:
    by = scores((3.0, 5, False), (0.1, 5, True), (2.0, 5, False), (4.0, 5, False), (1.0, 5, False), (9.0, 5, False))
    kept = one_of_each_cluster(chats(*"abcdef"), planted_vectors(GROUPS), (by,), clusters=3, seed=0)
    assert ids(run, kept) == ["row-2", "row-4", "row-5"]
    assert reasons(run, kept)["row-0"] == "another row stands for its cluster"


def test_no_more_rows_than_clusters_are_all_kept(run: Run) -> None:
    same = tuple((f"row-{n}", 1.0) for n in range(3))
    kept = one_of_each_cluster(chats(*"abc"), planted_vectors(same), (), clusters=3, seed=0)
    assert ids(run, kept) == ["row-0", "row-1", "row-2"]
