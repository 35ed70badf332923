"""The process in which answers to procedural tasks are scored, by the scorers of the package reasoning-gym.

Started by `verifier_process.judged`. An entry is made again from task, seed and place: a scorer needs it as it was
made, with values that JSON does not hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib import metadata
from typing import Any

from selfalign.data.procedural import PACKAGE, made_of
from selfalign.suites.verifier_process import Job, serve


def judge(job: Job) -> Mapping[str, Any]:
    """The score of an answer, and the right answer where there is a single one."""
    version = metadata.version(PACKAGE)
    if version != job["version"]:
        return {"failed": f"the item was made with {PACKAGE} {job['version']}, but {version} is installed"}
    dataset = dataset_of(job["task"], job["seed"], job["size"])
    entry = dataset[job["index"]]
    if entry["question"] != job["question"]:
        return {"failed": f"{PACKAGE} makes another question at this place: {job['task']} cannot be repeated"}
    right = entry.get("answer")
    return {"score": float(dataset.score_answer(job["answer"], entry)), "right": right and str(right)}


@lru_cache(maxsize=128)
def dataset_of(task: str, seed: int, size: int) -> Any:
    """A task's rows."""
    return made_of(task, seed=seed, size=size)


if __name__ == "__main__":
    serve(judge)
