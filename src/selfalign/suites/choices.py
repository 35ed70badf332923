"""Suites of multiple-choice items, in the forms their authors publish and in those of evaluation harnesses.

A row is recognised by its fields, whichever suite its file is given to. Texts are taken as they are, except that
HellaSwag's are freed of WikiHow's marks. What is right, and how it is weighed, is said in `docs/suites.md`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from string import ascii_uppercase
from typing import Any

from selfalign.data.formats import Format
from selfalign.data.multiple_choice import (
    MULTIPLE_CHOICE_FORMATS,
    Item,
    Labelled,
    multiple_choice_of,
    once,
    placed,
    texts_at,
)
from selfalign.data.turns import Misfit, asked, shown, text_at
from selfalign.suites.suite import ChoiceSuite, Form, Row
from selfalign.types import MultipleChoice

GAP = "_"
# WikiHow's headings in HellaSwag: [header], [title], [step], [substeps].
WIKIHOW_MARK = re.compile(r"\[[^\]]{0,200}\]")


# -------------------------------------------------------------------------------------------- ARC, OpenBookQA


def of_arc(row: Row) -> Item:
    """ARC and OpenBookQA: a stem, choices with a label each (A to E, 1 to 5), and the label of the right one.

    The authors put stem and choices into `question`; on the hub they are `question` (`question_stem`) and `choices`.
    """
    given: Any = row.get("question_stem", row.get("question"))
    whole = given if isinstance(given, Mapping) else {"stem": given, "choices": row.get("choices")}
    stem, choices = whole.get("stem"), whole.get("choices")
    options, labels = labelled_choices(choices)
    key = str(row["answerKey"])
    if labels.count(key) != 1:
        raise Misfit(f"'answerKey' must be the label of one choice ({', '.join(labels)}), not {key[:40]!r}")
    right = one_of(options, labels.index(key), "answerKey")
    return Item(asked(text_at({"question": stem}, "question"), "question"), right)


def labelled_choices(choices: Any) -> tuple[tuple[str, ...], list[str]]:
    """Texts and labels of choices: a list of objects with both, or an object with a list of each."""
    if isinstance(choices, list) and all(isinstance(one, Mapping) for one in choices):
        choices = {name: [one.get(name) for one in choices] for name in ("text", "label")}
    if not isinstance(choices, Mapping) or not isinstance(choices.get("label"), list):
        raise Misfit(f"'choices' must give each choice a 'text' and a 'label', not {shown(choices)}")
    options, labels = texts_at({"text": choices.get("text")}, "text"), [str(label) for label in choices["label"]]
    if len(options) != len(labels):
        raise Misfit(f"'choices' has {len(options)} texts and {len(labels)} labels: each text needs one")
    return options, labels


# ------------------------------------------------------------------------------------------------- HellaSwag


def of_hellaswag(row: Row) -> Item:
    """HellaSwag: a beginning (`activity_label` before it, where there is one) and endings; `label` counts from 0."""
    if "ctx_a" in row and "ctx_b" in row:
        begun = f"{text_at(row, 'ctx_a')} {text_at(row, 'ctx_b').capitalize()}"
    else:
        begun = text_at(row, "ctx")
    if "activity_label" in row:
        begun = f"{text_at(row, 'activity_label')}: {begun}"
    endings = tuple(without_marks(ending) for ending in texts_at(row, "endings"))
    return Item(asked(without_marks(begun), "ctx"), one_of(endings, place_at(row, "label"), "label"))


def without_marks(text: str) -> str:
    """A text of HellaSwag without WikiHow's marks, as evaluation harnesses read it."""
    return WIKIHOW_MARK.sub("", text.strip().replace(" [title]", ". ")).replace("  ", " ")


# ------------------------------------------------------------------------------------------------ WinoGrande


def of_winogrande(row: Row) -> Item:
    """WinoGrande: a sentence with a gap and what may fill it; what is weighed is the sentence behind the gap."""
    sentence = text_at(row, "sentence")
    if sentence.count(GAP) != 1:
        raise Misfit(f"'sentence' must have one gap, written {GAP}, not {sentence.count(GAP)}")
    options = (text_at(row, "option1"), text_at(row, "option2"))
    if str(row["answer"]) not in ("1", "2"):
        raise Misfit(f"'answer' must be 1 or 2, not {shown(row['answer'])} (the published test file has no answers)")
    before, after = sentence.split(GAP)
    return gapped(options, tuple(before + option for option in options), after.strip(), int(row["answer"]) - 1)


def of_contexts(row: Row) -> Item:
    """The same in llm-foundry: `context_options` that end with the options, `continuation`, and `gold` from 0."""
    contexts = texts_at(row, "context_options")
    said = [context.split() for context in contexts]
    most = min(map(len, said), default=1) - 1  # of each context something is left to tell it from the others
    shared = next((place for place in range(most) if len({words[place] for words in said}) > 1), max(0, most))
    options = tuple(" ".join(words[shared:]) for words in said)
    return gapped(options, contexts, text_at(row, "continuation").strip(), place_at(row, "gold"))


def gapped(options: tuple[str, ...], contexts: tuple[str, ...], continuation: str, right: int) -> Item:
    """An item whose options stand at the end of their contexts."""
    if not continuation:
        raise Misfit("nothing stands behind the gap: what follows it is what tells the options apart")
    before = contexts[0].rstrip().removesuffix(options[0]) if contexts else ""
    prompt = asked(f"{before}{GAP} {continuation}", "sentence")
    return Item(prompt, placed(options, right, "answer"), contexts, continuation)


# ------------------------------------------------------------------------------------------------ MMLU, PIQA


def of_mmlu(row: Row) -> Item:
    """MMLU: a question, choices, and the right one as a place from 0 or a letter; `subject` is its category.

    In a table the choices stand in columns `A`, `B` and so on.
    """
    lettered_columns = [letter for letter in ascii_uppercase if letter in row]
    if "choices" not in row and lettered_columns != list(ascii_uppercase[: len(lettered_columns)]):
        raise Misfit(f"the columns {', '.join(lettered_columns)} leave one out: an option is empty; write or remove it")
    choices = row["choices"] if "choices" in row else [row[letter] for letter in lettered_columns]
    options, answer = texts_at({"choices": choices}, "choices"), row["answer"]
    lettered = isinstance(answer, str) and answer in tuple(ascii_uppercase)
    right = ascii_uppercase.index(answer) if lettered else place_at(row, "answer")
    subject = text_at(row, "subject") if "subject" in row else ""
    return Item(asked(text_at(row, "question"), "question"), one_of(options, right, "answer"), category=subject)


def of_piqa(row: Row) -> Item:
    """PIQA: a goal and two ways to reach it; `label` is 0 or 1."""
    options = (text_at(row, "sol1"), text_at(row, "sol2"))
    return Item(asked(text_at(row, "goal"), "goal"), one_of(options, place_at(row, "label"), "label"))


def place_at(row: Row, name: str) -> Any:
    """A place from 0, written as a number or as its digits."""
    value = row[name]
    if value in ("", -1, "-1"):
        raise Misfit(f"{name!r} is {shown(value)}: the row has no key, as in published test files; take another split")
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 3 else value


def one_of(options: tuple[str, ...], right: Any, name: str) -> Labelled:
    """Options of which one is right, as a field says; one that repeats another counts once."""
    return once(placed(options, right, name))


# ---------------------------------------------------------------------------------------------------- suites


FORMATS: tuple[Format, ...] = (
    Format(frozenset({"question", "answerKey"}), "question + choices + answerKey", of_arc),
    Format(frozenset({"question_stem", "answerKey"}), "question_stem + choices + answerKey", of_arc),
    Format(frozenset({"ctx", "endings", "label"}), "ctx + endings + label", of_hellaswag),
    Format(
        frozenset({"sentence", "option1", "option2", "answer"}), "sentence + option1 + option2 + answer", of_winogrande
    ),
    Format(
        frozenset({"context_options", "continuation", "gold"}), "context_options + continuation + gold", of_contexts
    ),
    Format(frozenset({"question", "choices", "answer"}), "question + choices + answer", of_mmlu),
    Format(frozenset({"question", "A", "B", "answer"}), "question + A + B + C + D + answer", of_mmlu),
    Format(frozenset({"goal", "sol1", "sol2", "label"}), "goal + sol1 + sol2 + label", of_piqa),
    *MULTIPLE_CHOICE_FORMATS,
)


def suite_of(name: str, says: str, form: Form) -> ChoiceSuite:
    """A suite of any of the forms that multiple-choice files have."""

    def item_of(row: Row, identifier: str) -> MultipleChoice:
        return multiple_choice_of(row, identifier, category=name, formats=FORMATS)

    return ChoiceSuite(name=name, says=says, formats=FORMATS, item_of=item_of, form=form)


CHOICES = (
    suite_of("arc_easy", "school science, the easy part (Clark et al., 1803.05457)", "answers-per-token"),
    suite_of("arc_challenge", "school science, the hard part (Clark et al., 1803.05457)", "answers-per-token"),
    suite_of("openbook_qa", "elementary facts put to use (Mihaylov et al., 1809.02789)", "answers-per-token"),
    suite_of("piqa", "how everyday things are done (Bisk et al., 1911.11641)", "answers-per-token"),
    suite_of("hellaswag", "which ending follows (Zellers et al., 1905.07830)", "answers-per-token"),
    suite_of("winogrande", "what a pronoun's gap means (Sakaguchi et al., 1907.10641)", "answers"),
    suite_of("mmlu", "knowledge of 57 subjects (Hendrycks et al., 2009.03300)", "letters"),
    suite_of("truthfulqa", "questions that invite common errors (Lin et al., 2109.07958)", "answers"),
    suite_of("hhh", "helpful, honest, harmless choices (Askell et al., 2112.00861)", "answers"),
)
