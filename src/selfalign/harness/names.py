"""What metrics of lm-evaluation-harness are called here: `lm_eval/<task>/<metric>`, and what such a name means.

Its tasks and metrics are without number, so a name says itself which side is better: `lm_eval_lower/…` where less is,
`lm_eval_neutral/…` where the task does not say.
"""

from __future__ import annotations

from typing import Literal

from selfalign.measures.metric import Metric

Better = Literal["higher", "lower"] | None
FAMILIES: dict[str, Better] = {"lm_eval": "higher", "lm_eval_lower": "lower", "lm_eval_neutral": None}
# Metrics whose mean is a share of items, by the beginning or end of their names.
SHARES = ("acc", "exact_match", "pass@", "prompt_level_", "inst_level_")
NO_FILTER = "none"


def name_of(task: str, metric: str, filtered: str, *, higher_is_better: bool | None) -> str:
    """The name of a task's metric; `filtered` names the way a reply was read, where a task has several."""
    better: Better = None if higher_is_better is None else "higher" if higher_is_better else "lower"
    family = next(family for family, side in FAMILIES.items() if side == better)
    return f"{family}/{task}/{metric}" + ("" if filtered == NO_FILTER else f",{filtered}")


def is_harness(name: str) -> bool:
    """Whether a name is that of a metric of lm-evaluation-harness."""
    family, slash, rest = name.partition("/")
    return family in FAMILIES and bool(slash and rest)


def metric_of(name: str) -> Metric:
    """What a metric of lm-evaluation-harness means."""
    family, _, rest = name.partition("/")
    task, _, metric = rest.rpartition("/")
    share = metric.startswith(SHARES) or metric.partition(",")[0].endswith("_acc")
    return Metric(name, FAMILIES[family], f"{metric} of lm-eval's task {task}", share)
