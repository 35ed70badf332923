"""What single settings of a recipe cannot tell: which suite a file is of, what is kept clean, what may decide."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from selfalign.errors import RecipeError
from selfalign.harness.names import is_harness
from selfalign.references import nearest
from selfalign.stages.evaluate import METRICS, metric_named
from selfalign.stages.suites import metrics_of
from selfalign.suites import SUITES, ChoiceSuite


def name_suites(found: Any, where: str) -> None:
    """Tell every suite's file which suite it is of, as the setting beside it says.

    Raises:
        RecipeError: no suite has that name, one is given twice, or one runs code that a model wrote and the recipe does
            not allow it by name.
    """
    allowed = found.evaluate.allow_code_execution
    for name in allowed:
        if not getattr(SUITES.get(name), "runs_code", False):
            known = ", ".join(one.name for one in SUITES.values() if getattr(one, "runs_code", False)) or "none"
            raise RecipeError(f"{where}: evaluate.allow_code_execution: {name!r} runs no code; suites that do: {known}")
    for split in ("dev", "test"):
        suites = getattr(getattr(found.evaluate, split), "suites", ())
        for place, suite in enumerate(suites):
            path = f"{where}: evaluate.{split}.suites.{place}"
            if suite.name not in SUITES:
                raise RecipeError(
                    f"{path}.name: no suite is called {suite.name!r}{nearest(suite.name, SUITES)}; "
                    f"known: {', '.join(SUITES)}"
                )
            if suite.name in [other.name for other in suites[:place]]:
                raise RecipeError(f"{path}: suite {suite.name!r} is given twice in one split: join its files")
            if getattr(SUITES[suite.name], "runs_code", False) and suite.name not in allowed:
                raise RecipeError(
                    f"{path}: suite {suite.name!r} runs code that a model wrote, in a locked-down process (see "
                    f"docs/sandbox.md); allow it by name: evaluate.allow_code_execution: [{suite.name}]"
                )
            refuse_idle(suite, path)
            suite.items = replace(suite.items, suite=suite.name)


def refuse_idle(suite: Any, path: str) -> None:
    """Refuse a setting of a suite that would have no effect.

    Raises:
        RecipeError: names it and says why.
    """
    chooses = isinstance(SUITES[suite.name], ChoiceSuite)
    if chooses and suite.max_new_tokens is not None:
        raise RecipeError(f"{path}.max_new_tokens has no effect: {suite.name!r} weighs options and writes nothing")
    if not chooses and suite.form is not None:
        raise RecipeError(f"{path}.form has no effect: replies to {suite.name!r} are written, not chosen")


def refuse_test_on_dev(found: Any, where: str) -> None:
    """Refuse a test split that measures with the rows that decide on dev: it would be chosen by what it reports.

    Raises:
        RecipeError: names both settings.
    """
    if found.evaluate.test is None or found.evaluate.allow_contamination:
        return
    dev, test = (
        {
            (source.ref, source.limit): path
            for path, source in (
                ("held_out", split.held_out), ("instructions", split.instructions),
                *((f"multiple_choice.{place}", one) for place, one in enumerate(split.multiple_choice)),
                *((f"suites.{place}.items", one.items) for place, one in enumerate(split.suites)),
            )
            if source is not None
        }
        for split in (found.evaluate.dev, found.evaluate.test)
    )  # fmt: skip
    for rows, path in test.items():
        if rows in dev:
            raise RecipeError(
                f"{where}: evaluate.test.{path} holds the rows of evaluate.dev.{dev[rows]}, which decide: a test that "
                "chose what it reports tells nothing. Give other rows, leave test out, or, if it is meant, set "
                "evaluate.allow_contamination: true"
            )


def keep_clean(found: Any) -> None:
    """Have a method that can keep its data clean of other data keep it clean of all that the recipe measures with."""
    if "clean_of" not in type(found.method).model_fields or "clean_of" in found.method.model_fields_set:
        return
    splits = [split for split in (found.evaluate.dev, found.evaluate.test) if split is not None]
    measured_with = (
        source
        for split in splits
        for source in (
            split.held_out,
            split.instructions,
            *split.multiple_choice,
            *(suite.items for suite in split.suites),
        )
    )
    judge = found.evaluate.judge
    questions = (judge.questions, judge.dev_questions) if judge else ()
    found.method.clean_of = tuple(source for source in (*measured_with, *questions) if source is not None)


def check_together(found: Any, where: str) -> None:
    """What single fields cannot tell: the metric that decides must be measured on dev and have a better side."""
    measured = {"nll", "repetition", "near_duplicate", "unfinished", *found.evaluate.dev.checks}
    if found.evaluate.dev.instructions is not None:
        measured |= {"instructions", "instructions_loose"}
    if found.evaluate.dev.multiple_choice:
        measured |= {"mc1", "mc2"}
    measured |= set(metrics_of(tuple(suite.name for suite in found.evaluate.dev.suites)))
    judge = found.evaluate.judge
    if judge and "reference" in judge.against and (judge.dev_questions or found.evaluate.test is None):
        measured.add("win_rate_reference")
    metric = found.stop.metric
    if found.evaluate.dev.lm_eval is not None and is_harness(metric) and metric_named(metric).better is not None:
        measured.add(metric)  # which metrics a task has is known once it was measured; the loop refuses what was not
    if metric not in measured:
        known = "is unknown"
        if metric in METRICS:
            known = "is not measured on dev" if METRICS[metric].better else "has no better side and cannot decide"
            if found.evaluate.test is not None and metric in metrics_of(
                tuple(suite.name for suite in found.evaluate.test.suites)
            ):
                known = "is measured on test, which is only reported: what decides must be measured on dev"
        choice = f"choose of: {', '.join(sorted(measured))}"
        raise RecipeError(f"{where}: stop.metric '{metric}' {known}{nearest(metric, measured)}; {choice}")
    for path, model in {"method.base": found.method.base, "evaluate.judge.model": judge and judge.model}.items():
        scripted = model is not None and model.ref.startswith("scripted:")
        if model and {scripted} != {found.place.engine == "scripted", found.place.trainer == "scripted"}:
            raise RecipeError(
                f"{where}: {path} is {model.ref!r}, place.engine '{found.place.engine}' and "
                f"place.trainer '{found.place.trainer}'; scripted models need both 'scripted', real ones need neither"
            )
