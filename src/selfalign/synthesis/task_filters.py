"""Which invented tasks are refused before anybody answers them: the published heuristics, each by its name. Pure.

They are those of Self-Instruct as the released I-SHEEP code applies them, and of its rule filter the ones that only
look at the task: an answer need not be paid for to find them out. Newness is told by `measures.novelty`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from selfalign.errors import RecipeError
from selfalign.synthesis.task_list import Task

# What a model that only reads and writes text cannot do.
FORBIDDEN_WORDS = (
    "image", "images", "graph", "graphs", "picture", "pictures", "file", "files", "map", "maps", "draw", "plot",
    "go to", "video", "audio", "music", "flowchart", "diagram",
)  # fmt: skip
INPUT_LEAK = re.compile(r"<?\bno[ _-]?input\b>?", re.IGNORECASE)
FIELD_WITHIN = re.compile(r"\b(?:instruction|input|output)\s*[:：]", re.IGNORECASE)
LINK = re.compile(r"https?:", re.IGNORECASE)
# A word or a few in angle brackets; comparisons, arrows and tags of markup with attributes are no placeholders.
PLACEHOLDER = re.compile(r"<[A-Za-z][A-Za-z0-9 _-]{0,40}>")
# The names under which refusals are counted, in the order in which rules are asked.
RULES = (
    "words", "first_character", "forbidden_words", "input_leak", "embedded_fields", "links", "placeholders",
    "input_repeated", "novelty",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskFilter:
    """The rules for tasks; each can be switched off, and refusals are counted under the names of these fields.

    `min_words`, `max_words`: of the instruction ("words"). `first_character`: it begins with an ASCII letter or digit
    (switch it off for other scripts). `forbidden_words`: in instruction or input, as whole words. `input_leak`: the
    list's sign for "no input" within a text. `embedded_fields`: "Input:" and the like within a text. `placeholders`:
    `<name>` instead of a name. `input_repeated`: the instruction holds its input. `novelty`: the ROUGE-L F1 above which
    an instruction repeats one of the seeds or of any round; null accepts all.
    """

    min_words: int = 4
    max_words: int = 150
    first_character: bool = True
    forbidden_words: tuple[str, ...] = FORBIDDEN_WORDS
    input_leak: bool = True
    embedded_fields: bool = True
    links: bool = True
    placeholders: bool = True
    input_repeated: bool = True
    novelty: float | None = 0.7

    def __post_init__(self) -> None:
        """Refuse bounds that nothing lies between."""
        if self.min_words > self.max_words:
            raise RecipeError(
                f"filters: min_words {self.min_words} is above max_words {self.max_words}, so every task would be "
                "refused"
            )

    def fault(self, task: Task) -> str:
        """The name of the first rule, but for `novelty`, that a task breaks; empty when it breaks none."""
        broken = {
            "words": not self.min_words <= len(task.instruction.split()) <= self.max_words,
            "first_character": self.first_character and not re.match(r"[A-Za-z0-9]", task.instruction),
            "forbidden_words": bool(self.forbidden_words) and self.forbidden_in(task),
            "input_leak": self.input_leak and found(INPUT_LEAK, task),
            "embedded_fields": self.embedded_fields and found(FIELD_WITHIN, task),
            "links": self.links and found(LINK, task),
            "placeholders": self.placeholders and found(PLACEHOLDER, task),
            "input_repeated": self.input_repeated and bool(task.input) and task.input in task.instruction,
        }
        return next((name for name in RULES if broken.get(name)), "")

    def forbidden_in(self, task: Task) -> bool:
        """Whether a forbidden word stands in a task."""
        words = "|".join(re.escape(word) for word in self.forbidden_words)
        return found(re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE), task)


def found(pattern: re.Pattern[str], task: Task) -> bool:
    """Whether a pattern occurs in the instruction or in the input."""
    return pattern.search(task.instruction) is not None or pattern.search(task.input) is not None
