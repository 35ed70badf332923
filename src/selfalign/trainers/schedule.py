"""How many optimiser steps a training has and how fast each one learns. Pure arithmetic."""

from __future__ import annotations

import math

from selfalign.types import Optimisation


def steps_per_epoch(optimisation: Optimisation, *, examples: int) -> int:
    """Optimiser steps of one epoch; the last, smaller batch is a step too."""
    return -(-examples // optimisation.batch_size)


def steps_to_train(optimisation: Optimisation, *, examples: int) -> int:
    """How many optimiser steps are taken: `num_train_epochs`, and never more than `max_steps`."""
    steps = steps_per_epoch(optimisation, examples=examples) * optimisation.num_train_epochs
    return steps if optimisation.max_steps is None else min(steps, optimisation.max_steps)


def horizon(optimisation: Optimisation, *, examples: int) -> int:
    """Over how many steps the learning rate is laid out: those trained, unless `schedule_epochs` says otherwise.

    SPIN lays out 6 epochs and stops after 2 (appendix B.1).
    """
    if optimisation.schedule_epochs is None:
        return steps_to_train(optimisation, examples=examples)
    return steps_per_epoch(optimisation, examples=examples) * optimisation.schedule_epochs


def learning_rate(optimisation: Optimisation, *, step: int, examples: int) -> float:
    """The rate of optimiser step `step` (from 0), by the convention of the Transformers schedulers.

    Warm-up takes w = ceil(`warmup_ratio` × horizon) steps and starts at zero: rate k/w. Then, with progress
    p = (k - w) / (horizon - w): linear 1 - p, cosine (1 + cos πp)/2, constant 1; the first two end at `final_ratio`
    instead of 0 when it is set.
    """
    total = horizon(optimisation, examples=examples)
    warm_up = math.ceil(optimisation.warmup_ratio * total)
    if step < warm_up:
        return optimisation.learning_rate * step / warm_up
    progress = min(1.0, (step - warm_up) / max(1, total - warm_up))
    if optimisation.schedule == "constant":
        return optimisation.learning_rate
    left = 1.0 - progress if optimisation.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * progress))
    return optimisation.learning_rate * (optimisation.final_ratio + (1.0 - optimisation.final_ratio) * left)
