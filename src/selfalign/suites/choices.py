"""Suites of multiple-choice items, in the forms their authors publish."""

from __future__ import annotations

from selfalign.data.multiple_choice import MULTIPLE_CHOICE_FORMATS, multiple_choice_of
from selfalign.suites.suite import ChoiceSuite, Form, Row
from selfalign.types import MultipleChoice


def suite_of(name: str, says: str, form: Form) -> ChoiceSuite:
    """A suite of any of the forms that multiple-choice files have."""

    def item_of(row: Row, identifier: str) -> MultipleChoice:
        return multiple_choice_of(row, identifier, category=name)

    return ChoiceSuite(name=name, says=says, formats=MULTIPLE_CHOICE_FORMATS, item_of=item_of, form=form)


CHOICES = (
    suite_of("arc_easy", "school science, the easy part (Clark et al., 1803.05457)", "answers-per-token"),
    suite_of("arc_challenge", "school science, the hard part (Clark et al., 1803.05457)", "answers-per-token"),
    suite_of("hellaswag", "which ending follows (Zellers et al., 1905.07830)", "answers-per-token"),
    suite_of("winogrande", "what a pronoun's gap means (Sakaguchi et al., 1907.10641)", "answers"),
    suite_of("mmlu", "knowledge of 57 subjects (Hendrycks et al., 2009.03300)", "letters"),
    suite_of("truthfulqa", "questions that invite common errors (Lin et al., 2109.07958)", "answers"),
    suite_of("hhh", "helpful, honest, harmless choices (Askell et al., 2112.00861)", "answers"),
)
