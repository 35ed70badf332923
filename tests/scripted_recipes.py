"""Recipes over scripted models, so that whole runs take a second; one for every method there is."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from selfalign.methods import METHODS

EVALUATION = {
    "dev": {
        "held_out": "embedded:house-style#dev#12",
        "instructions": "embedded:instructions#dev#6",
        "multiple_choice": "embedded:multiple-choice#dev#6",
        "checks": ["house_style"],
    },
    "test": {
        "held_out": "embedded:house-style#test#12",
        "multiple_choice": "embedded:multiple-choice#test#6",
        "checks": ["house_style"],
    },
}


# What a method needs beside its base model; every other setting has a default.
NEEDS: dict[str, dict[str, Any]] = {
    "spin": {"demonstrations": "embedded:house-style#train#20"},
    "sft": {"demonstrations": "embedded:house-style#train#20"},
    "diverse_evol": {"pool": "embedded:house-style#train#20", "start": 4, "grow": 4},
    "humpback": {
        "seeds": "embedded:house-style#train#20",
        "corpus": "corpus:python-docs#40",
        "segments": 12,
        "grading": {"reading": "distribution"},
        "threshold": 3.0,
        "optimisation": {"steps_by_examples": [[20, 4, 8]]},
    },
    "i_sheep": {
        "seeds": "embedded:seed-tasks#train#20",
        "synthesis": {"target": 12, "shots": 3},
        "assessment": {"reading": "distribution", "threshold": 1, "kept_share": 0.5},
    },
    "self_align": {
        "seeds": "embedded:seed-tasks#train#20",
        "demonstrations": "embedded:seed-tasks#train#8",
        "principles": "corpus:python-docs#1",
        "verbose": "corpus:python-docs#1",
        "probes": "embedded:red-teaming#train#6",
        "red_teaming": {"topics": 3},
        "synthesis": {"target": 12, "shots": 3},
        "shots": {"count": 2},
    },
    "soft": {
        "prompts": "embedded:house-style#train#20",
        "demonstrations": "embedded:seed-tasks#train#8",
        "parts": 4,
        "shots": {"count": 2},
    },
}
DATA = {
    "spin": "demonstrations",
    "sft": "demonstrations",
    "diverse_evol": "pool",
    "humpback": "seeds",
    "i_sheep": "seeds",
    "self_align": "seeds",
    "soft": "prompts",
}


def settings_of(method: str, store: Path, **changes: Any) -> dict[str, Any]:
    """A recipe of a method as plain data: three rounds over twenty demonstrations."""
    return {
        "name": f"{method}-law",
        "method": {
            "name": method,
            "base": "scripted:novice",
            "optimisation": {"batch_size": 8},
            **NEEDS[method],
            **changes,
        },
        "rounds": 3,
        "evaluate": deepcopy(EVALUATION),  # a test may change it
        "stop": {"metric": "house_style"},
        "place": {"engine": "scripted", "trainer": "scripted", "store": str(store)},
    }


def written(folder: Path, settings: dict[str, Any]) -> Path:
    """The recipe as a file."""
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(settings), "utf-8")
    return path


NAMES = sorted(METHODS)
