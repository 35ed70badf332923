"""Which answers to invented tasks are refused by rule, before a grader is asked. Pure.

The rules of the released I-SHEEP code for answers, each by its name. Two of them are off unless asked for: measured on
a public set of human answers, its option letters alone refuse one in eight, "e.g." among them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from selfalign.synthesis.task_filters import INPUT_LEAK

ROLE_MARKER = re.compile(
    r"^[ \t*_#]*(?:assistant|system|human|question|output|user)[ \t*_]*[:：]", re.IGNORECASE | re.MULTILINE
)
ANSWER_CHOICES = re.compile(r"answer choices\s*[:：]", re.IGNORECASE)
OPTION_LETTER = re.compile(r"(?:^|[\s(])[A-Ea-e][.)](?:\s|$)", re.MULTILINE)
# The last paragraph is one line that asks something: the model goes on with a task of its own.
FOLLOW_UP = re.compile(r"\n[ \t]*\n[^\n]*[?？]\s*\Z")
EAST_ASIAN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
RULES = (
    "empty", "cut", "role_markers", "answer_choices", "input_leak", "follow_up", "option_letters", "east_asian",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerFilter:
    """The rules for answers; each can be switched off or on, and refusals are counted under the names of these fields.

    `cut`: the token limit ended it. `role_markers`: a line begins with a speaker's name (assistant, system, human,
    user), question or output, and a colon. `answer_choices`: it lists choices. `input_leak`: the list's sign for "no
    input". `follow_up`: it ends in a question after a blank line. `option_letters`: a letter as in "A." or "(b)".
    `east_asian`: a Chinese, Japanese or Korean character. An empty answer is always refused ("empty").
    """

    cut: bool = False
    role_markers: bool = True
    answer_choices: bool = True
    input_leak: bool = True
    follow_up: bool = True
    option_letters: bool = False
    east_asian: bool = False

    def fault(self, answer: str, *, finished: bool) -> str:
        """The name of the first rule that an answer breaks; empty when it breaks none."""
        broken = {
            "empty": not answer.strip(),
            "cut": self.cut and not finished,
            "role_markers": self.role_markers and ROLE_MARKER.search(answer) is not None,
            "answer_choices": self.answer_choices and ANSWER_CHOICES.search(answer) is not None,
            "input_leak": self.input_leak and INPUT_LEAK.search(answer) is not None,
            "follow_up": self.follow_up and FOLLOW_UP.search(answer) is not None,
            "option_letters": self.option_letters and OPTION_LETTER.search(answer) is not None,
            "east_asian": self.east_asian and EAST_ASIAN.search(answer) is not None,
        }
        return next((name for name in RULES if broken[name]), "")
