"""How long a planned call is likely to take. A guess for people who wait, labelled as one; nothing depends on it.

Rates come from the store: what calls of the same stage and the same base model took before. Without history, a rate
per parameter measured on two CPU cores stands in.
"""

from __future__ import annotations

from dataclasses import dataclass

from selfalign.loop import PlannedCall
from selfalign.stage import size_from
from selfalign.store import Store

# Planned tokens per second times parameters, from the records of recipes/spin-laptop.yaml on two cores in fp32.
SCORED = {"score_answers", "score_pairs", "embed", "uncertainties"}
TOKEN_PARAMETERS_PER_SECOND = {"generate": 3.3e10, "train": 2.5e10} | dict.fromkeys(SCORED, 9.0e10)
PARAMETERS = {"embedded:toy": 1e6, "embedded:smollm2": 1.345e8, "embedded:gemma3-270m": 2.68e8}
SECONDS_WITHOUT_MODEL = 0.05


@dataclass(frozen=True, slots=True)
class Rates:
    """Seconds per token through the model, by stage, from finished calls of this store; and the base model's size."""

    seen: dict[str, float]
    parameters: float | None

    def seconds(self, call: PlannedCall) -> float | None:
        """The guess for one call; 0 when it is made already, None when nothing is known."""
        if call.made:
            return 0.0
        tokens = call.size.work_tokens
        if not tokens:
            return SECONDS_WITHOUT_MODEL
        if call.call.stage in self.seen:
            return tokens * self.seen[call.call.stage]
        rate = TOKEN_PARAMETERS_PER_SECOND.get(call.call.stage)
        return None if rate is None or self.parameters is None else tokens * self.parameters / rate


def rates(store: Store, base: str) -> Rates:
    """The rates of this store for a base model: the median of finished calls stage by stage."""
    taken: dict[str, list[float]] = {}
    for key in store.finished():
        record = store.record(key)
        tokens = size_from(record).work_tokens
        if tokens and record.get("base") == base:
            taken.setdefault(record["stage"], []).append(record["seconds"] / tokens)
    seen = {stage: sorted(values)[len(values) // 2] for stage, values in taken.items()}
    return Rates(seen, PARAMETERS.get(base))
