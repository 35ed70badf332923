"""Plays N rounds of a method: advance, measure, compare, stop, keep the best.

The same `moves` are consumed by a run and by a plan, so a plan lists exactly the calls a run makes. The loop knows
rounds and scores; it does not know what a method does between two of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from selfalign.errors import StageError
from selfalign.keys import Call
from selfalign.measures.intervals import Interval, bootstrap_mean, paired_difference
from selfalign.run import Run
from selfalign.stage import Asked, Size, Stage, asking, size_from
from selfalign.stages.evaluate import METRICS, Evaluation, Measured, by_suite, measure
from selfalign.store import Store
from selfalign.types import Model, Round

BOOTSTRAP_SEED = 0
BASE = "base"


class Method(Protocol):
    """A frozen dataclass with a generator: its fields are its settings, `play` is the algorithm."""

    @property
    def base(self) -> Model:
        """The model everything starts from; rounds are compared with it."""

    def play(self) -> Iterator[Round]:
        """Endless rounds; the loop takes as many as the recipe says."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stop:
    """When to stop and what decides which round is kept: a metric of the **dev** split, never of the test split.

    `patience`: stop after so many rounds in a row without a new best; None plays all rounds.
    """

    metric: str = "nll"
    patience: int | None = None

    def improves(self, new: float, old: float) -> bool:
        """Whether a mean of the metric beats another one (equal is no improvement)."""
        return new < old if METRICS[self.metric].better == "lower" else new > old


@dataclass(frozen=True, slots=True)
class Move:
    """A round and the tables that measure its model, split by split; the base is the move without a round."""

    label: str
    model: Model
    round: Round | None
    measured: Mapping[str, Measured]


class Labelled(Asked, Protocol):
    """A run or a plan: stage calls ask it, and it knows under which round."""

    round: str


def moves(asked: Labelled, method: Method, *, rounds: int, evaluation: Evaluation) -> Iterator[Move]:
    """The base, then each round, measured; making the calls of a round happens while it is drawn."""
    splits = evaluation.splits()
    with asking(asked):
        asked.round = BASE
        yield Move(
            BASE, method.base, None, {name: measure(method.base, evaluation, split) for name, split in splits.items()}
        )
        player = method.play()
        for number in range(rounds):
            asked.round = f"round {number}"
            played = next(player)
            measured = {name: measure(played.model, evaluation, split) for name, split in splits.items()}
            yield Move(asked.round, played.model, played, measured)


# ------------------------------------------------------------------------------------------------ playing


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of one round: its mean with a 95 % interval, and its paired change against base and previous round."""

    mean: Interval
    against_base: Interval | None
    against_previous: Interval | None


Scores = dict[str, dict[str, Score]]
Values = dict[str, dict[str, dict[str, float | None]]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: every round's scores, and which model is kept."""

    labels: tuple[str, ...]
    models: tuple[Model, ...]
    scores: tuple[Scores, ...]
    best: int
    stopped: str

    @property
    def beat_base(self) -> bool:
        """Whether a round was kept rather than the base."""
        return self.best > 0


def play(run: Run, method: Method, *, rounds: int, evaluation: Evaluation, stop: Stop) -> Outcome:
    """Play up to `rounds` rounds and give what they were worth.

    Raises:
        StageError: a stage failed, or the metric that decides was not measured.
    """
    labels: list[str] = []
    models: list[Model] = []
    scores: list[Scores] = []
    values: list[Values] = []
    best, stopped = 0, "all rounds played"
    for move in moves(run, method, rounds=rounds, evaluation=evaluation):
        found = values_of(run.store, move)
        labels.append(move.label)
        models.append(move.model)
        values.append(found)
        scores.append(scored(found, values[0] if len(values) > 1 else None, values[-2] if len(values) > 1 else None))
        if stop.metric not in scores[-1]["dev"]:
            raise StageError(
                f"stop.metric '{stop.metric}' was not measured on dev; measured: {', '.join(scores[-1]['dev'])}"
            )
        if len(scores) > 1 and stop.improves(dev_mean(scores[-1], stop), dev_mean(scores[best], stop)):
            best = len(scores) - 1
        run.tell("round", label=move.label, **facts_of(move), scores=plain_scores(scores[-1]), best=labels[best])
        if stop.patience is not None and len(scores) - 1 - best >= stop.patience and len(scores) <= rounds:
            several = "s" if stop.patience > 1 else ""
            stopped = f"no better {stop.metric} on dev for {stop.patience} round{several}"
            break
    return Outcome(tuple(labels), tuple(models), tuple(scores), best, stopped)


def dev_mean(scores: Scores, stop: Stop) -> float:
    """The mean that decides."""
    return scores["dev"][stop.metric].mean.mean


def values_of(store: Store, move: Move) -> Values:
    """Every value of a move: by split, metric and item."""
    return {
        split: {suite: items for table in measured.results for suite, items in by_suite(store.rows(table.key)).items()}
        for split, measured in move.measured.items()
    }


def scored(now: Values, base: Values | None, previous: Values | None) -> Scores:
    """Means, and paired changes over the items both rounds have."""
    return {
        split: {
            suite: Score(
                bootstrap_mean([value for value in items.values() if value is not None], seed=BOOTSTRAP_SEED),
                change(base[split][suite], items) if base else None,
                change(previous[split][suite], items) if previous else None,
            )
            for suite, items in suites.items()
        }
        for split, suites in now.items()
    }


def change(before: dict[str, float | None], after: dict[str, float | None]) -> Interval:
    """The paired difference of a metric, item by item."""
    return paired_difference(before, after, seed=BOOTSTRAP_SEED)


def plain_scores(scores: Scores) -> dict[str, Any]:
    """Scores as JSON: `[mean, low, high, items]` for the mean and each difference."""

    def plain(interval: Interval | None) -> list[float] | None:
        return None if interval is None else [interval.mean, interval.low, interval.high, interval.items]

    return {
        split: {
            suite: {
                "mean": plain(score.mean),
                "against_base": plain(score.against_base),
                "against_previous": plain(score.against_previous),
            }
            for suite, score in suites.items()
        }
        for split, suites in scores.items()
    }


def facts_of(move: Move) -> dict[str, Any]:
    """What the report needs to find a round's tables and models, and who started from whom."""
    facts: dict[str, Any] = {
        "model": move.model.ref,
        "measured": {
            split: {"results": [table.key for table in measured.results], "answers": measured.answers.key}
            for split, measured in move.measured.items()
        },
    }
    if move.round is not None:
        facts["trained_on"] = [table.key for table in move.round.trained_on]
        facts["generated"] = move.round.answers.key if move.round.answers else None
        facts["started_from"] = move.round.started_from.ref if move.round.started_from else None
        facts["reference"] = move.round.reference.ref if move.round.reference else None
        facts["grader"] = move.round.grader.ref if move.round.grader else None
        facts["grades"] = move.round.grades.key if move.round.grades else None
        facts["chosen"] = [table.key for table in move.round.chosen]
        facts["selection"] = move.round.selection.key if move.round.selection else None
    return facts


# ----------------------------------------------------------------------------------------------- planning


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """One call a run would make, with its expected size; `made` when the store has it already."""

    round: str
    call: Call
    key: str
    size: Size
    made: bool
    needs: str
    model: str


class Plan:
    """Asked like a run, but only writes down what would be made. Keys need no values, so it plans all rounds."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.round = BASE
        self.calls: list[PlannedCall] = []
        self.sizes: dict[str, Size] = {}

    def ask(self, stage: Stage[Any, Any], call: Call, arguments: Mapping[str, Any]) -> None:
        """Note the call once, with its size: from its record if it was made, else estimated from its inputs."""
        key = call.key
        if key in self.sizes:
            return
        made = self.store.has(key)
        self.sizes[key] = size_from(self.store.record(key)) if made else stage.expect(self.size_of, **arguments)
        model = arguments.get("model")
        self.calls.append(
            PlannedCall(self.round, call, key, self.sizes[key], made, stage.needs, model.ref if model else "")
        )

    def size_of(self, handle: Any) -> Size:
        """The size of an input that an earlier call makes."""
        return self.sizes[handle.key]


def planned(plan: Plan, method: Method, *, rounds: int, evaluation: Evaluation) -> list[PlannedCall]:
    """Every call of every round, in the order a run makes them."""
    for _ in moves(plan, method, rounds=rounds, evaluation=evaluation):
        pass
    return plan.calls
