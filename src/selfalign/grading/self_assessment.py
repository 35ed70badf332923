"""How I-SHEEP has a model grade its own pairs: two questions on a scale from 1 to 10, in three wordings. Pure.

Quality is about the answer, following about whether it obeys the instruction. The wordings are the paper's three kinds
(appendix A) in our own words: `simple` names the two ends of the scale, `combined` lists what makes a pair bad, and
`in-context` shows three graded examples and asks once for both.
"""

from __future__ import annotations

from typing import Literal

from selfalign.grading.rubrics import LAST_LINE, Rubric

Level = Literal["both", "quality", "following", "none"]
Wording = Literal["combined", "simple", "in-context"]

SCALE = LAST_LINE.format(lowest=1, highest=10)
GRADER = "You grade training examples and are known to be strict."
EXAMPLES = (
    "Instruction: Name two metals that a magnet attracts.\n"
    "Answer: Iron is one of them, and there are several more.\n"
    "Score: 6\n\n"
    "Instruction: Put these numbers in ascending order: 14, 3, 9.\n"
    "Answer: Then write a story about a family of numbers that goes to the seaside.\n"
    "Score: 1\n\n"
    "Instruction: Say in one sentence why bread rises.\n"
    "Answer: Yeast feeds on the sugars in the dough and gives off carbon dioxide, whose bubbles the dough holds.\n"
    "Score: 10"
)


def rubric(name: str, question: str, *aspects: str) -> Rubric:
    """A rubric of this family."""
    return Rubric(
        name=name, lowest=1, highest=10, task=f"{GRADER} {question}", criteria=aspects, each="aspect",
        answer_format=SCALE,
    )  # fmt: skip


QUALITY = {
    "simple": rubric(
        "quality-simple",
        "Grade the quality of the answer, from 1 for a wrong one to 10 for a correct one.",
        "Is the answer right?",
    ),
    "combined": rubric(
        "quality-combined",
        "Grade the quality of the answer, from 1 for one that nobody should learn from to 10 for a model of its kind.",
        "Low: it says something false, or reaches a wrong result.",
        "Low: it is longer than its content needs, or says the same thing again.",
        "Low: it is hard to understand, or its form is overloaded.",
        "High: it is right, brief and clear.",
    ),
}
FOLLOWING = {
    "simple": rubric(
        "following-simple",
        "Grade how well the answer follows the instruction, from 1 for not at all to 10 for to the letter.",
        "Does the answer do what the instruction asks?",
    ),
    "combined": rubric(
        "following-combined",
        "Grade how well the answer follows the instruction, from 1 for not at all to 10 for to the letter.",
        "Low: it goes on with the instruction, or adds another one, instead of answering.",
        "Low: it does not keep to the form, the length or the material that the instruction names.",
        "Low: the instruction itself can be understood in several ways, or cannot be carried out from text alone.",
        "High: instruction and answer are clear and fit each other.",
    ),
}
IN_CONTEXT = rubric(
    "in-context",
    f"Grade how good a training example the pair is, as was done with these:\n\n{EXAMPLES}\n",
    "How well the answer serves the instruction, measured by the examples above.",
)


def questions(level: Level, wording: Wording) -> tuple[Rubric, ...]:
    """The rubrics by which every pair is graded, one call each; none at level `none`.

    Examples grade quality and following at once, so the `in-context` wording has one question at every other level.
    """
    if level == "none":
        return ()
    if wording == "in-context":
        return (IN_CONTEXT,)
    return tuple(
        family[wording] for name, family in (("quality", QUALITY), ("following", FOLLOWING)) if level in ("both", name)
    )
