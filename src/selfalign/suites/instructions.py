"""IFEval and IFBench: prompts with constraints that a program can verify, strictly and loosely read.

Rows are as their authors publish them; the verifiers are those of the package if-verifiable, which packs the authors'.
They run in a process of their own (`verifier_process`), since replies are hostile and verifiers search them with
expressions that can take for ever. A constraint whose verifier failed has no value, nor has its prompt.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import islice
from typing import Any

from selfalign.data.formats import known_format, of_prompt
from selfalign.data.turns import Misfit, asked, shown, text_at, without_nothing
from selfalign.measures.metric import Metric
from selfalign.suites import sentences
from selfalign.suites.instruction_families import IFBENCH_FAMILIES, IFEVAL_FAMILIES, Families
from selfalign.suites.suite import Row, Suite, Verdict
from selfalign.suites.verifier_process import FAILED, Job, judged
from selfalign.suites.verify_instructions import ABSENT
from selfalign.types import Item

JUDGE = "selfalign.suites.verify_instructions"
FORMATS = (
    known_format("prompt + instruction_id_list + kwargs", "prompt instruction_id_list kwargs", of_prompt),
)  # fmt: skip


# --------------------------------------------------------------------------------------------------- rows


def constraints_of(row: Row, families: Families) -> list[tuple[str, dict[str, Any]]]:
    """The families of a row's constraints and the settings of each.

    Raises:
        Misfit: a family or setting is unknown or missing; the verifiers would draw a missing one at random.
    """
    names, settings = row.get("instruction_id_list"), row.get("kwargs")
    for field, value in (("instruction_id_list", names), ("kwargs", settings)):
        if not isinstance(value, list) or not value:
            raise Misfit(f"{field!r} must be a list of at least one entry, not {shown(value)}")
    assert isinstance(names, list)
    assert isinstance(settings, list)
    if len(names) != len(settings):
        raise Misfit(f"'instruction_id_list' has {len(names)} entries and 'kwargs' {len(settings)}: give one for each")
    return [constraint_of(name, given, families) for name, given in zip(names, settings, strict=True)]


def constraint_of(name: Any, given: Any, families: Families) -> tuple[str, dict[str, Any]]:
    """One constraint. Raises as `constraints_of`."""
    if not isinstance(name, str) or name not in families:
        near = get_close_matches(str(name), families, n=1)
        raise Misfit(f"no verifier for {shown(name)}{f': did you mean {near[0]!r}?' if near else ''}")
    if not isinstance(given, Mapping):
        raise Misfit(f"the 'kwargs' of {name} must be an object, not {shown(given)}")
    found, needed = without_nothing(given), families[name]
    for wrong, fault in ((set(needed) - set(found), "lack"), (set(found) - set(needed), "have the unknown")):
        if wrong:
            raise Misfit(f"the 'kwargs' of {name} {fault} {', '.join(map(repr, sorted(wrong)))}")
    return name, found


def instruction_suite(
    name: str, says: str, families: Families, *, packages: tuple[str, ...], resources: tuple[str, ...] = ()
) -> Suite:
    """A suite of prompts with constraints of these families; `resources` is NLTK data that some verifiers use."""

    def item_of(row: Row, identifier: str) -> Item:
        row = without_nothing(row)
        prompt = text_at(row, "prompt")
        given = {"prompt": prompt, "constraints": constraints_of(row, families)}
        return Item(id=identifier, prompt=asked(prompt, "prompt"), given=json.dumps(given))

    def verify(items: Sequence[Item], replies: Sequence[str]) -> Iterator[tuple[Verdict, ...]]:
        given = [json.loads(item.given) for item in items]
        jobs: list[Job] = [
            {"suite": name, "family": family, "settings": settings, "prompt": one["prompt"], "reply": reply}
            for one, reply in zip(given, replies, strict=True)
            for family, settings in one["constraints"]
        ]
        said = judged(JUDGE, jobs)
        for one in given:
            families_asked = [family for family, _ in one["constraints"]]
            yield verdicts(name, families_asked, list(islice(said, len(families_asked))))

    def data() -> tuple[str, ...]:
        return tuple(f"nltk {one}" for one in resources if sentences.installed(one))

    return Suite(
        name=name, says=says, metrics=metrics_of(name, says), formats=FORMATS, item_of=item_of, verify=verify,
        max_new_tokens=1280, packages=packages, ready=sentences.missing, data=data,
    )  # fmt: skip


def metrics_of(name: str, says: str) -> tuple[Metric, ...]:
    """The four numbers of such a suite."""
    return (
        Metric(name, "higher", f"{says}: prompts whose constraints are all met, strictly read", True),
        Metric(f"{name}_loose", "higher", "the same, markdown and first or last line forgiven", True),
        Metric(f"{name}_by_instruction", "higher", "constraints that are met, strictly read", True),
        Metric(f"{name}_by_instruction_loose", "higher", "the same, markdown and first or last line forgiven", True),
    )


# ------------------------------------------------------------------------------------------------ verdicts


def verdicts(name: str, families: Sequence[str], said: Sequence[Mapping[str, Any]]) -> tuple[Verdict, ...]:
    """What a reply is worth in the four metrics, from what the judge said of each constraint."""
    by_reading = [
        (suffix, [outcome(one, reading) for one in said]) for suffix, reading in (("", "strict"), ("_loose", "loose"))
    ]
    whole = tuple(of_prompt_level(f"{name}{suffix}", families, found) for suffix, found in by_reading)
    each = tuple(
        of_instruction_level(f"{name}_by_instruction{suffix}", families, found) for suffix, found in by_reading
    )
    return whole + each


def outcome(said: Mapping[str, Any], reading: str) -> bool | str:
    """Whether a constraint was met, or why its verifier failed."""
    met = said.get(reading)
    return met if isinstance(met, bool) else str(said.get(FAILED) or said.get("why"))


def why_failed(families: Sequence[str], found: Sequence[bool | str]) -> str:
    """Which constraints' verifiers failed, and how."""
    broken = [f"{family}: {one}" for family, one in zip(families, found, strict=True) if isinstance(one, str)]
    return f"verifier failed: {'; '.join(broken)}" if broken else ""


def of_prompt_level(metric: str, families: Sequence[str], found: Sequence[bool | str]) -> Verdict:
    """1 where every constraint is met; no value where a verifier failed, even if another constraint is not met."""
    if why := why_failed(families, found):
        return Verdict(metric, None, why)
    return Verdict(metric, float(all(found)), unmet(families, found))


def of_instruction_level(metric: str, families: Sequence[str], found: Sequence[bool | str]) -> Verdict:
    """The share of the constraints that were judged which are met; weighs as many judgements as can be made here.

    Where a verifier failed at a reply, its constraint counts as the others of the prompt do, and the prompt weighs
    what it always does: were it lighter for one model, every other prompt would be heavier for that model, and differ
    where nothing does.
    """
    judgements = [one for one in found if isinstance(one, bool)]
    why = "; ".join(filter(None, (unmet(families, found), why_failed(families, found))))
    value = sum(judgements) / len(judgements) if judgements else None
    judgeable = [one for one in found if not (isinstance(one, str) and one.startswith(ABSENT))]
    return Verdict(metric, value, why, weight=float(len(judgeable)))


def unmet(families: Sequence[str], found: Sequence[bool | str]) -> str:
    """The names of the constraints that are not met."""
    names = [family for family, one in zip(families, found, strict=True) if one is False]
    return f"not met: {', '.join(names)}" if names else ""


# ------------------------------------------------------------------------------------------------- suites

IFEVAL = instruction_suite(
    "ifeval",
    "instructions of 25 verifiable families (Zhou et al., 2311.07911)",
    IFEVAL_FAMILIES,
    packages=("if_verifiable", "nltk", "langdetect"),
)
IFBENCH = instruction_suite(
    "ifbench",
    "instructions of 58 families that few train on (Pyatkin et al., 2507.02833)",
    IFBENCH_FAMILIES,
    packages=("if_verifiable", "nltk", "langdetect", "emoji", "syllapy"),
    resources=("corpora/stopwords", "taggers/averaged_perceptron_tagger_eng"),
)
