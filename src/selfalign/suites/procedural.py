"""Reasoning Gym: tasks made by a program from a seed, each with an exact scorer; fresh prompts without end.

The answer is what the last `<answer>` tag of the reply holds, else its last line that is not blank. Scorers give
part of the point for an answer in the wrong form. They run in a process of their own, as the replies are hostile.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence

from selfalign.data.formats import known_format, of_question
from selfalign.data.turns import Misfit, asked, shown, text_at
from selfalign.measures.metric import Metric
from selfalign.suites.suite import Row, Suite, Verdict
from selfalign.suites.verifier_process import FAILED, Job, judged
from selfalign.types import Item

NAME = "reasoning_gym"
JUDGE = "selfalign.suites.verify_procedural"
OPENED, CLOSED = "<answer>", "</answer>"
# Without it a right answer in a sentence has only part of the point: scorers compare the answer alone.
REQUEST = f"\n\nGive your final answer between {OPENED} and {CLOSED} tags."
FIELDS = {"question": str, "task": str, "seed": int, "index": int, "size": int, "version": str}
FORMATS = (
    known_format("question + task + seed + index + size + version", "question task seed index size version",
                 of_question),
)  # fmt: skip
MOST_SHOWN = 60


def item_of(row: Row, identifier: str) -> Item:
    """A question, and where in which task it was made."""
    for name, kind in FIELDS.items():
        if type(row.get(name)) is not kind:
            raise Misfit(f"{name!r} must be of type {kind.__name__}, not {shown(row.get(name))}")
    given = {name: row[name] for name in FIELDS}
    return Item(id=identifier, prompt=asked(text_at(row, "question") + REQUEST, "question"), given=json.dumps(given))


def verify(items: Sequence[Item], replies: Sequence[str]) -> Iterator[tuple[Verdict, ...]]:
    """The score that the task's own scorer gives to the answer in each reply."""
    given = [json.loads(item.given) for item in items]
    answers = [answer_in(reply) for reply in replies]
    jobs: list[Job] = [{**one, "answer": answer} for one, answer in zip(given, answers, strict=True)]
    for one, answer, said in zip(given, answers, judged(JUDGE, jobs), strict=True):
        score = said.get("score")
        if FAILED in said:
            yield (Verdict(NAME, None, f"scorer failed: {said[FAILED]}", category=one["task"]),)
        elif not (isinstance(score, float) and math.isfinite(score) and 0 <= score <= 1):
            yield (Verdict(NAME, None, f"scorer failed: {shown(score)} is no share", category=one["task"]),)
        else:
            why = "" if score == 1 else why_less(answer, said["right"])
            yield (Verdict(NAME, score, why, category=one["task"]),)


def answer_in(reply: str) -> str:
    """What the last answer tag holds, else the last line that is not blank; empty where there is none."""
    _, opened, last = reply.rpartition(OPENED)
    if opened:
        return last.partition(CLOSED)[0].strip()
    return reply.strip().rpartition("\n")[2].strip()


def why_less(answer: str, right: str | None) -> str:
    """Why an answer has not the whole point."""
    if not answer:
        return "no answer in the reply"
    cut = answer if len(answer) <= MOST_SHOWN else answer[:MOST_SHOWN] + "…"
    return f"{cut!r}" + (f" instead of {right[:MOST_SHOWN]!r}" if right else " is not right")


REASONING_GYM = Suite(
    name=NAME,
    says="procedural tasks with exact scorers (Stojanovski et al., 2505.24760)",
    metrics=(Metric(NAME, "higher", "what the tasks' scorers give, 1 for a right answer", True),),
    formats=FORMATS,
    item_of=item_of,
    verify=verify,
    max_new_tokens=512,
    packages=("reasoning_gym",),
)
