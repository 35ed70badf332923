"""The report's section on health: what was measured, which alarms, and what an early end looks like."""

from __future__ import annotations

from pathlib import Path

import pytest

from report.test_html import harmless, page_of
from scripted_recipes import settings_of, written
from selfalign.guard import WATCHED
from selfalign.playing import play_recipe


def played(method: str, folder: Path, *overrides: str) -> str:
    """The text of the report of a run with these limits."""
    play_recipe(written(folder, settings_of(method, folder / "store")), overrides, folder / "run")
    page = page_of(folder / "run")
    harmless(page)
    return " ".join(page.text.split())


def test_a_healthy_run_shows_its_measures_beside_their_limits_and_no_alarm(tmp_path: Path) -> None:
    said = played("humpback", tmp_path)
    assert "✓ no alarm" in said
    for name, watched in WATCHED.items():
        assert f"{name} {watched.means}" in said
    assert "warns above 30 %stops above 90 %" in said
    assert "Stopped before" not in said


def test_a_warning_is_told_with_its_round_and_marked_in_the_table(tmp_path: Path) -> None:
    said = played("spin", tmp_path, "guard.median_answer_words.warn=7")
    assert "⚠ round 0: the median kept answer has 6 words, below 7 (median_answer_words)." in said
    assert "⚠ 6 of 20" in said
    assert "✓ no alarm" not in said
    assert "Stopped before" not in said


@pytest.mark.parametrize(("limit", "stopped"), [(3.8, "round 1"), (None, "")])
def test_a_stop_is_the_first_thing_a_report_says(limit: float | None, stopped: str, tmp_path: Path) -> None:
    override = f"guard.answer_length_ratio={{warn: null, stop: {limit if limit else 'null'}}}"
    said = played("spin", tmp_path, override)
    why = "the median kept answer is 330 % as long as in the first round, below 380 % (answer_length_ratio)"
    assert (f"Stopped before {stopped} was trained: {why}. Round 0 is kept:" in said) == bool(stopped)
    assert (f"finished: guard: {why}" in said) == bool(stopped)
    assert (f"✗ round 1: {why}. The run ended before this round was trained." in said) == bool(stopped)


def test_grades_of_a_round_that_was_stopped_are_drawn_and_others_not_twice(tmp_path: Path) -> None:
    (tmp_path / "on").mkdir()
    said = played("humpback", tmp_path / "on")
    assert said.count("Grades of round 1") == said.count("Grades of round 2") == 1
    said = played("humpback", tmp_path, "guard.commonest_score_share={warn: null, stop: 0.4}")
    assert "50 % of the grades are one and the same score, above 40 %" in said
    assert said.count("Grades of round 1") == 1
    assert "How candidates were graded" not in said


def test_a_method_that_gathers_nothing_has_no_such_section(tmp_path: Path) -> None:
    assert "before it was trained" not in played("sft", tmp_path)
