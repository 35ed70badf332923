"""What lm-evaluation-harness wrote down, read item by item.

A metric is only read where the mean of its items is the number that the harness reports: others (a perplexity, an F1
over the whole set) are no means of items, and a made-up item would make comparisons by item a fiction. They stay as
the harness reports them, by name. Files are what a program wrote: nothing in them is trusted to have its form.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfalign.errors import SelfAlignError, StageError
from selfalign.harness.names import name_of
from selfalign.types import Result

MOST_LETTERS = 4000
SAME_MEAN = 1e-6

Sample = Mapping[str, Any]
Reported = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reading:
    """Every item's results, the version that gave them, and what it reports of metrics that are no means of items."""

    results: tuple[Result, ...]
    version: str
    whole_only: Mapping[str, float | None]


def read_output(folder: Path) -> Reading:
    """Everything the harness wrote into its output folder.

    Raises:
        StageError: it wrote no results, fewer samples than it says, something else, or no value for single items.
    """
    files = sorted(folder.rglob("results_*.json"))
    if not files:
        raise StageError("lm-eval ended without an error and wrote no results")
    try:
        return reading_of(json.loads(files[-1].read_text("utf-8")), folder)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        if isinstance(error, SelfAlignError):
            raise
        raise StageError(f"{files[-1]} and its samples are not as lm-eval 0.4 writes them: {error!r}") from error


def reading_of(reported: Reported, folder: Path) -> Reading:
    """The results of every task in a results file; raises as `read_output`."""
    results: list[Result] = []
    whole: dict[str, float | None] = {}
    for task, counts in reported["n-samples"].items():
        samples = samples_of(folder, task)
        effective = int(counts["effective"])
        if not samples or len({str(sample["doc_id"]) for sample in samples}) != effective:
            raise StageError(f"lm-eval wrote {len(samples)} samples of task {task!r} and says it measured {effective}")
        for metric, filtered in sorted({(name, str(one["filter"])) for one in samples for name in one["metrics"]}):
            some = [one for one in samples if str(one["filter"]) == filtered]
            name = name_of(task, metric, filtered, higher_is_better=side_of(reported, task, metric))
            mean = number(reported["results"][task].get(f"{metric},{filtered}"))
            found = [] if mean is None else results_of(some, metric, name, mean)
            results += found
            if not found:
                whole[name] = mean
    if not results:
        raise StageError(
            "lm-eval gave no value for single items" + (f", only {', '.join(whole)}" if whole else "")
            + ": rounds are compared by item; choose a task with a metric that is a mean"
        )  # fmt: skip
    return Reading(tuple(results), str(reported.get("lm_eval_version", "unknown")), whole)


def samples_of(folder: Path, task: str) -> list[Sample]:
    """Every logged sample of a task, in the order of its items."""
    return [
        json.loads(line)
        for file in sorted(folder.rglob("samples_*.jsonl"))
        if file.name.removeprefix("samples_").rpartition("_")[0] == task
        for line in file.read_text("utf-8").split("\n")
        if line.strip()
    ]


def side_of(reported: Reported, task: str, metric: str) -> bool | None:
    """Whether more of a metric is better, as the task says."""
    found = reported.get("higher_is_better", {}).get(task, {}).get(metric)
    return found if isinstance(found, bool) else None


# ------------------------------------------------------------------------------------------------- values


def results_of(samples: Sequence[Sample], metric: str, name: str, reported: float) -> list[Result]:
    """A result for every item; none where the mean of what stands there is not what the harness reports."""
    values = values_of([sample.get(metric) for sample in samples], metric)
    known = [value for value in values if value is not None]
    if not known or not math.isclose(math.fsum(known) / len(known), reported, rel_tol=SAME_MEAN, abs_tol=SAME_MEAN):
        return []
    return [result_of(sample, name, value) for sample, value in zip(samples, values, strict=True)]


def values_of(given: Sequence[Any], metric: str) -> list[float | None]:
    """What each item contributes to the mean; None where it is no number.

    Lists of judgements (constraints of a prompt) count by their length, since such a metric is the mean of all of
    them; bits per byte are pairs of a log-likelihood (nats) and the bytes it is of, and count by the bytes.
    """
    if all(isinstance(one, list) and one and all(type(part) is bool for part in one) for one in given):
        length = sum(map(len, given)) / len(given)
        return [sum(one) / length for one in given]
    if metric == "bits_per_byte" and all(isinstance(one, list) and len(one) == 2 for one in given):
        size = sum(float(one[1]) for one in given) / len(given)
        return [-float(one[0]) / math.log(2) / size for one in given]
    return [number(one) for one in given]


def number(value: Any) -> float | None:
    """A value as a finite number; None for anything else."""
    if not isinstance(value, (bool, int, float)) or not math.isfinite(value):
        return None
    return float(value)


def result_of(sample: Sample, name: str, value: float | None) -> Result:
    """One item's result; its id holds the item's content, so that other data are never taken for the same item."""
    reply = reply_of(sample)
    read = sample.get("filtered_resps")
    read = read[0] if isinstance(read, list) and len(read) == 1 else read
    why = "lm-eval gave no number" if value is None else ""
    if isinstance(read, str) and read != reply:
        why = f"read as {read[:MOST_LETTERS]!r}"
    return Result(id=id_of(sample), suite=name, value=value, reply=reply, why=why)


def id_of(sample: Sample) -> str:
    """The number of an item, and the beginning of the hash of what it holds."""
    return f"{sample['doc_id']}-{str(sample.get('doc_hash', ''))[:8]}"


def reply_of(sample: Sample) -> str:
    """What the model wrote, or else the log-probabilities it gave, as JSON."""
    given = list(flat(sample.get("resps")))
    text = given[0] if len(given) == 1 and isinstance(given[0], str) else json.dumps(sample.get("resps"))
    return text[:MOST_LETTERS]


def flat(value: Any) -> Iterator[Any]:
    """The leaves of nested lists."""
    if isinstance(value, list):
        for one in value:
            yield from flat(one)
    else:
        yield value
