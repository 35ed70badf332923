"""A few held-out prompts with the human answer and every round's own, side by side.

Which prompts are shown depends on their ids alone, so nobody picked them and every report of a run shows the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from selfalign.report.evidence import Evidence, tables_in
from selfalign.report.visible import cut
from selfalign.stages.evaluate import Check

SPLIT = "dev"
PROMPTS_SHOWN = 4
LONGEST_SHOWN = 1200


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """A piece of text and who wrote it. `checks` holds (check, whether it passed)."""

    who: str
    text: str
    left_off: int
    finished: bool = True
    kept: bool = False
    checks: tuple[tuple[str, bool], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One prompt and its answers: the human one first, then the base's and each round's."""

    id: str
    prompt: tuple[Said, ...]
    answers: tuple[Said, ...]


def samples(evidence: Evidence) -> list[Sample]:
    """The answers of the base and of every round to the same few prompts."""
    measured = [(event, event["measured"][SPLIT]) for event in evidence.rounds if SPLIT in event["measured"]]
    if not measured:
        return []
    asked = next(tables_in(evidence.record(measured[0][1]["answers"]).get("arguments", {})), "")
    prompts = {row.id: row for row in evidence.rows(asked)} or {
        row.id: row for row in evidence.rows(measured[0][1]["answers"])
    }
    chosen = sorted(prompts, key=place)[:PROMPTS_SHOWN]
    given = [answered(evidence, event, tables, chosen) for event, tables in measured]
    return [
        Sample(
            id=one,
            prompt=tuple(said(message.role, message.content) for message in prompts[one].prompt),
            answers=(*human(prompts[one], asked), *(answers[one] for answers in given if one in answers)),
        )
        for one in chosen
    ]


def place(row_id: str) -> str:
    """Where a row stands in an order that has nothing to do with its content."""
    return hashlib.blake2b(row_id.encode("utf-8", "replace"), digest_size=8).hexdigest()


def human(row: Any, asked: str) -> tuple[Said, ...]:
    """The human answer to a prompt, where the prompts came with one."""
    answer = getattr(row, "answer", None)
    return (said("human", answer),) if asked and answer is not None else ()


def said(who: str, text: str) -> Said:
    """A text, cut to what a page can bear."""
    start, left_off = cut(text, LONGEST_SHOWN)
    return Said(who=who, text=start, left_off=left_off)


def answered(
    evidence: Evidence, event: Mapping[str, Any], tables: Mapping[str, Any], chosen: list[str]
) -> dict[str, Said]:
    """One model's answers to the chosen prompts, with the checks they passed."""
    passed: dict[str, list[tuple[str, bool]]] = {one: [] for one in chosen}
    for key in tables["results"]:
        for result in evidence.rows(key):
            if result.id in passed and result.suite in get_args(Check) and result.value is not None:
                passed[result.id].append((result.suite, bool(result.value)))
    found = {}
    for chat in evidence.rows(tables["answers"]):
        if chat.id in passed:
            start, left_off = cut(chat.answer or "", LONGEST_SHOWN)
            found[chat.id] = Said(
                who=event["label"], text=start, left_off=left_off, finished=chat.finished,
                kept=event["label"] == evidence.kept(), checks=tuple(passed[chat.id]),
            )  # fmt: skip
    return found
