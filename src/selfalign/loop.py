"""Plays N rounds of a method: advance, measure, compare, stop, keep the best.

The same `moves` are consumed by a run and by a plan, so a plan lists exactly the calls a run makes. The loop knows
rounds and scores; it does not know what a method does between two of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from selfalign.errors import NothingLeft, StageError
from selfalign.guard import Alarm, Guard
from selfalign.keys import Call
from selfalign.run import Run
from selfalign.scores import Scores, Values, plain_scores, scored, values_of
from selfalign.stage import Asked, Size, Stage, asking, size_from
from selfalign.stages.evaluate import Evaluation, Measured, measure, metric_named
from selfalign.stages.health import health, measured_of
from selfalign.store import Store
from selfalign.types import Chat, Gathered, HealthMeasure, Model, Round, Table

BASE = "base"
ALL_PLAYED = "all rounds played"


class Method(Protocol):
    """A frozen dataclass with a generator: its fields are its settings, `play` is the algorithm."""

    @property
    def base(self) -> Model:
        """The model everything starts from; rounds are compared with it."""

    def play(self) -> Iterator[Round | Gathered]:
        """Rounds, each after what it gathered, if that can be looked at; the loop takes as many as told, or as come."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stop:
    """When to stop and what decides which round is kept: a metric of the **dev** split, never of the test split.

    `patience`: stop after so many rounds in a row without a new best; None plays all rounds.
    """

    metric: str = "nll"
    patience: int | None = None

    def improves(self, new: float, old: float) -> bool:
        """Whether a mean of the metric beats another one (equal is no improvement)."""
        return new < old if metric_named(self.metric).better == "lower" else new > old


@dataclass(frozen=True, slots=True)
class Move:
    """A round and the tables that measure its model, split by split; the base is the move without a round."""

    label: str
    model: Model
    round: Round | None
    measured: Mapping[str, Measured]


@dataclass(frozen=True, slots=True)
class Look:
    """What a round is about to train on, and the table that measures it; nothing has been trained yet."""

    gathered: Gathered
    health: Table[HealthMeasure]


class Labelled(Asked, Protocol):
    """A run or a plan: stage calls ask it, and it knows under which round."""

    round: str


def moves(asked: Labelled, method: Method, *, rounds: int, evaluation: Evaluation) -> Iterator[Move | Look]:
    """The base, then each round, measured, after a look at what it gathered; its calls are made while it is drawn."""
    splits = evaluation.splits()
    with asking(asked):
        asked.round = BASE
        yield Move(
            BASE, method.base, None,
            {name: measure(method.base, evaluation, split, base=method.base) for name, split in splits.items()},
        )  # fmt: skip
        number, first = 0, None
        asked.round = "round 0"
        for played in method.play():
            if isinstance(played, Gathered):
                yield look(played, first)
                first = first or played.kept
                continue
            measured = {
                name: measure(played.model, evaluation, split, base=method.base) for name, split in splits.items()
            }
            yield Move(asked.round, played.model, played, measured)
            number += 1
            if number == rounds:
                return
            asked.round = f"round {number}"


def look(gathered: Gathered, first: Table[Chat] | None) -> Look:
    """What a round gathered, measured; `first` is what the first one kept, once there was one."""
    made, kept, grades, known = gathered.made, gathered.kept, gathered.grades, gathered.known
    return Look(gathered, health(made, kept, grades=grades, known=known, first=first))


# ------------------------------------------------------------------------------------------------ playing


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


def play(
    run: Run, method: Method, *, rounds: int, evaluation: Evaluation, stop: Stop, guard: Guard = Guard()
) -> Outcome:
    """Play up to `rounds` rounds and give what they were worth.

    A round in which nothing is left to learn from ends the run; the first one that gathers anything fails.

    Raises:
        StageError: a stage failed, or the metric that decides was not measured.
    """
    labels: list[str] = []
    models: list[Model] = []
    scores: list[Scores] = []
    values: list[Values] = []
    best, stopped, looked = 0, ALL_PLAYED, False
    try:
        for move in moves(run, method, rounds=rounds, evaluation=evaluation):
            if isinstance(move, Look):
                looked = True
                if stopping := [alarm.says for alarm in looked_at(run, move, guard) if alarm.level == "stop"]:
                    stopped = f"guard: {'; '.join(stopping)}"
                    break
                continue
            found = values_of(run.store, move.measured)
            labels.append(move.label)
            models.append(move.model)
            values.append(found)
            scores.append(
                scored(found, values[0] if len(values) > 1 else None, values[-2] if len(values) > 1 else None)
            )
            if stop.metric not in scores[-1]["dev"]:
                raise StageError(
                    f"stop.metric '{stop.metric}' was not measured on dev; measured: {', '.join(scores[-1]['dev'])}"
                )
            if math.isnan(dev_mean(scores[-1], stop)):
                raise StageError(
                    f"stop.metric '{stop.metric}' has no value for {move.label}: not one of its items could be read, "
                    "so nothing can decide; choose another stop.metric, or a judge or format that can be read"
                )
            if len(scores) > 1 and stop.improves(dev_mean(scores[-1], stop), dev_mean(scores[best], stop)):
                best = len(scores) - 1
            facts = {**facts_of(move), **said_of(run.store, move)}
            run.tell("round", label=move.label, **facts, scores=plain_scores(scores[-1]), best=labels[best])
            if stop.patience is not None and len(scores) - 1 - best >= stop.patience and len(scores) <= rounds:
                several = "s" if stop.patience > 1 else ""
                stopped = f"no better {stop.metric} on dev for {stop.patience} round{several}"
                break
    except NothingLeft as nothing:
        # An earlier round gathered something, this one nothing: a collapse, at which the best so far is kept. Where no
        # round did, a setting is at fault.
        if not looked:
            raise
        stopped = str(nothing).partition("\n")[0]
    if stopped == ALL_PLAYED and len(labels) <= rounds:
        stopped = f"the method has {len(labels) - 1} round{'s' if len(labels) > 2 else ''}"
    return Outcome(tuple(labels), tuple(models), tuple(scores), best, stopped)


def looked_at(run: Run, look: Look, guard: Guard) -> list[Alarm]:
    """Every alarm that what a round gathered raises, told together with the measures and their limits."""
    measures = list(run.store.rows(look.health.key))
    alarms = guard.alarms(measures)
    run.tell(
        "guard",
        stage=health.name,
        key=look.health.key,
        grades=[table.key for table in look.gathered.grades],
        measures=[{**asdict(one), "limit": asdict(guard.limit(one.id))} for one in measures],
        alarms=[asdict(alarm) for alarm in alarms],
    )
    return alarms


def dev_mean(scores: Scores, stop: Stop) -> float:
    """The mean that decides."""
    return scores["dev"][stop.metric].mean.mean


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


def said_of(store: Store, move: Move) -> dict[str, Any]:
    """What the measuring of a round has to say in words (who judged, what could not be read), by split, if anything."""
    said = {
        split: [notes["says"] for table in tables.results if "says" in (notes := store.record(table.key)["notes"])]
        for split, tables in move.measured.items()
    }
    return {"says": {split: texts for split, texts in said.items() if texts}} if any(said.values()) else {}


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
        self.measured: set[str] = set()
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
    """Every call of every round, in the order a run makes them; `plan.measured` has what the guard would look at."""
    for move in moves(plan, method, rounds=rounds, evaluation=evaluation):
        if isinstance(move, Look):
            seen = move.gathered
            plan.measured.update(measured_of(seen.made, seen.kept, grades=seen.grades, known=seen.known))
    return plan.calls
