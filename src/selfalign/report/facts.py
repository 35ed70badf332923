"""What was run, with what, when, at what cost, and how it ended: a run's facts as pairs of name and words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from selfalign.report.evidence import Evidence
from selfalign.report.visible import shortened
from selfalign.stages.evaluate import metric_named

DIRECTIONS = {"lower": "↓ lower is better", "higher": "↑ higher is better", None: "↕ neither is better in itself"}


def state(evidence: Evidence) -> str:
    """Whether the run ended, and if not, why not as far as the journal knows."""
    ended, failed = evidence.event("ended"), evidence.event("failed")
    if ended:
        return f"finished: {ended['stopped']}"
    if failed:
        return f"failed in {failed['round']}, stage {failed['stage']}: {shortened(failed['error'], 600)}"
    left = sum(not evidence.store.has(key) for key in evidence.planned)
    return f"not finished, {left} planned calls to go; running the same recipe again goes on from here"


def facts(evidence: Evidence, metric: str) -> list[tuple[str, str]]:
    """What was run, with what, when, and at what cost."""
    begun, asked = evidence.event("begun"), evidence.asked()
    made = [event for event in asked if event["event"] == "made"]
    reused = [event for event in asked if event["event"] == "reused"]
    base = evidence.rounds[0]["model"] if evidence.rounds else "–"
    known = metric_named(metric)
    return [
        ("method", str(begun.get("method", "–"))),
        ("base model", shortened(str(base))),
        ("state", state(evidence)),
        ("deciding metric", f"{metric}, {known.says} ({DIRECTIONS[known.better]}), on dev"),
        ("begun", when(begun.get("time"))),
        ("last entry", when(evidence.events[-1].get("time") if evidence.events else None)),
        (
            "cost in all",
            f"{counted(asked)}, {seconds_text(sum(took(evidence, event) for event in asked))} of computing",
        ),
        ("computed now", f"{counted(made)}, {seconds_text(sum(event['seconds'] for event in made))}"),
        ("reused", reused_text(evidence, reused)),
        ("made with", made_with(evidence)),
    ]


def reused_text(evidence: Evidence, events: list[dict[str, Any]]) -> str:
    """How many results were found in the store, and what they had cost."""
    cost = seconds_text(sum(took(evidence, event) for event in events))
    return f"{counted(events)}, which took {cost} when made" if events else "nothing; no call had been made before"


def counted(events: list[dict[str, Any]]) -> str:
    """A number of calls in words."""
    return "1 call" if len(events) == 1 else f"{len(events):,} calls"


def took(evidence: Evidence, event: Mapping[str, Any]) -> float:
    """The seconds a call took when it was made."""
    return float(event.get("seconds", evidence.record(event["key"]).get("seconds", 0.0)))


def seconds_text(seconds: float) -> str:
    """A duration in the unit people would use."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def when(time: Any) -> str:
    """A journal time as people read it."""
    try:
        return datetime.fromisoformat(str(time)).strftime("%Y-%m-%d %H:%M:%S UTC%z").removesuffix("+0000")
    except ValueError:
        return "–"


def made_with(evidence: Evidence) -> str:
    """The package versions and devices on record, all of them where results were made with several."""
    found: dict[str, set[str]] = {}
    for event in evidence.asked():
        record = evidence.record(event["key"])
        parts = {**record.get("made_with", {}), **({"device": record["device"]} if record.get("device") else {})}
        for name, version in parts.items():
            found.setdefault(str(name), set()).add(str(version))
    return "; ".join(f"{name} {' and '.join(sorted(versions))}" for name, versions in found.items()) or "–"
