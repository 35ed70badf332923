"""What one row of a multiple-choice file means: our own form and the published ones, recognised by their fields.

Pure, like `formats`: a row it cannot use raises `Misfit`, and `sources` adds the place. Texts are taken as they are,
except that the answers of TruthfulQA's CSV are separated at each ";" and freed of the blanks around them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from selfalign.data.formats import Format, unrecognised
from selfalign.data.turns import Misfit, asked, prompt_at, shown, text_at, without_nothing
from selfalign.types import Message, MultipleChoice

Row = Mapping[str, Any]


class Labelled(NamedTuple):
    """Options, which of them are right, and which right one a set calls the best."""

    options: tuple[str, ...]
    right: tuple[int, ...]
    best: int | None = None


class Item(NamedTuple):
    """A prompt and its options; perhaps the contexts they make, what follows each, and the row's own category."""

    prompt: tuple[Message, ...]
    labelled: Labelled
    contexts: tuple[str, ...] = ()
    continuation: str = ""
    category: str = ""


def multiple_choice_of(
    row: Row, identifier: str, *, category: str, formats: tuple[Format, ...] | None = None
) -> MultipleChoice:
    """The item in a row; `category` is that of rows that name none. `formats`, if not those below, are looked for.

    Raises:
        Misfit: the row has no known form, the prompt does not end with the user, or the options are not at least two
            different texts of which at least one is right and one wrong.
    """
    row = without_nothing(row)
    known = formats or MULTIPLE_CHOICE_FORMATS
    form = next((item for item in known if item.keys <= row.keys()), None)
    if form is None:
        raise unrecognised(row, known)
    item: Item = form.read(row)
    prompt, labelled = item.prompt, item.labelled
    if prompt[-1].role != "user":
        raise Misfit(f"the prompt must end with the user's message, not the {prompt[-1].role}'s")
    check(labelled)
    named = next((name for name in ("category", "Category") if name in row), None)
    return MultipleChoice(
        id=identifier, prompt=prompt, options=labelled.options, right=labelled.right, best=labelled.best,
        category=text_at(row, named) if named else item.category or category,
        contexts=item.contexts, continuation=item.continuation,
    )  # fmt: skip


def check(labelled: Labelled) -> None:
    """Refuse options among which there is nothing to choose."""
    options, right, _ = labelled
    if len(options) < 2:
        raise Misfit(f"an item needs at least two options, not {len(options)}")
    blank = next((place for place, option in enumerate(options) if not option.strip()), None)
    if blank is not None:
        raise Misfit(f"option {blank} is empty: write it or remove it")
    twice = next((option for place, option in enumerate(options) if option in options[:place]), None)
    if twice is not None:
        raise Misfit(f"the option {shown(twice)} is given twice: options must differ")
    if not right:
        raise Misfit("no option is right: an item needs at least one")
    if len(right) == len(options):
        raise Misfit("every option is right: an item needs at least one that is wrong")


# -------------------------------------------------------------------------------------------------- forms


def of_options(row: Row) -> Item:
    """`prompt`, `options` and `right`: the place of the right option, or a list of places, counted from 0."""
    return Item(prompt_at(row, "prompt"), placed(texts_at(row, "options"), row["right"], "right"))


def of_query(row: Row) -> Item:
    """`query`, `choices` and `gold`, the place of the right one, as evaluation harnesses write them."""
    return Item(asked(text_at(row, "query"), "query"), once(placed(texts_at(row, "choices"), row["gold"], "gold")))


def of_targets(row: Row) -> Item:
    """TruthfulQA: `question` and `mc1_targets`, `mc2_targets` or both: then the one right option of MC1 is the best."""
    prompt = asked(text_at(row, "question"), "question")
    several = labels_at(row, "mc2_targets") if "mc2_targets" in row else None
    if "mc1_targets" not in row:
        assert several is not None, "the form was recognised by one of the two"
        return Item(prompt, several)
    single = labels_at(row, "mc1_targets")
    if len(single.right) != 1:
        raise Misfit(f"'mc1_targets' must have one right option, not {len(single.right)}")
    if several is None:
        return Item(prompt, single)
    best = single.options[single.right[0]]
    if wrong(single) != wrong(several) or best not in {several.options[place] for place in several.right}:
        raise Misfit("'mc1_targets' and 'mc2_targets' disagree about what is right or wrong: remove one of them")
    return Item(prompt, several._replace(best=several.options.index(best)))


def wrong(labelled: Labelled) -> set[str]:
    """The options that are not right."""
    return {option for place, option in enumerate(labelled.options) if place not in labelled.right}


def of_table(row: Row) -> Item:
    """TruthfulQA's CSV: a best answer, and correct and incorrect ones in one cell each, separated by ";".

    An answer repeated in a cell counts once. One in both cells says nothing and is left out (the published file has
    two such rows).
    """
    correct, incorrect = (separated(text_at(row, name)) for name in ("Correct Answers", "Incorrect Answers"))
    best = text_at(row, "Best Answer").strip()
    if not best:
        raise Misfit("'Best Answer' is empty: MC1 is read with it")
    if best in incorrect:
        raise Misfit("'Best Answer' is among the 'Incorrect Answers' too: remove it there")
    both = set(correct) & set(incorrect)
    true = [answer for answer in dict.fromkeys([*correct, best]) if answer not in both]
    options = (*true, *(answer for answer in incorrect if answer not in both))
    right = tuple(range(len(true)))
    return Item(asked(text_at(row, "Question"), "Question"), Labelled(options, right, options.index(best)))


def of_target_scores(row: Row) -> Item:
    """BIG-bench (HHH): `input` and `target_scores`, a score of 1 for each right option and 0 for each wrong one."""
    return Item(asked(text_at(row, "input"), "input"), labels_at(row, "target_scores"))


def of_listed_targets(row: Row) -> Item:
    """The same as published on the hub: `input` and `targets` with a list of choices and one of labels."""
    return Item(asked(text_at(row, "input"), "input"), labels_at(row, "targets"))


MULTIPLE_CHOICE_FORMATS = (
    Format(frozenset({"prompt", "options", "right"}), "prompt + options + right", of_options),
    Format(frozenset({"question", "mc1_targets"}), "question + mc1_targets", of_targets),
    Format(frozenset({"question", "mc2_targets"}), "question + mc2_targets", of_targets),
    Format(
        frozenset({"Question", "Best Answer", "Correct Answers", "Incorrect Answers"}),
        "Question + Best Answer + Correct Answers + Incorrect Answers",
        of_table,
    ),
    Format(frozenset({"input", "target_scores"}), "input + target_scores", of_target_scores),
    Format(frozenset({"input", "targets"}), "input + targets", of_listed_targets),
    Format(frozenset({"query", "choices", "gold"}), "query + choices + gold", of_query),
)


# ------------------------------------------------------------------------------------------------- values


def texts_at(row: Row, name: str) -> tuple[str, ...]:
    """A list of texts."""
    value = row[name]
    if not isinstance(value, list):
        raise Misfit(f"{name!r} must be a list of texts, not {shown(value)}")
    return tuple(text_at({f"{name}[{place}]": text}, f"{name}[{place}]") for place, text in enumerate(value))


def placed(options: tuple[str, ...], right: Any, name: str) -> Labelled:
    """Options of which the right ones are given by their places."""
    places = right if isinstance(right, list) else [right]
    if not options:
        return Labelled((), ())
    for place in places:
        if type(place) is not int:
            raise Misfit(f"{name!r} must be the place of an option, or a list of places, not {shown(right)}")
        if not 0 <= place < len(options):
            raise Misfit(f"{name!r} is {place}, but the {len(options)} options have the places 0 to {len(options) - 1}")
    if len(set(places)) < len(places):
        raise Misfit(f"{name!r} names an option twice")
    return Labelled(options, tuple(sorted(places)))


def labels_at(row: Row, name: str) -> Labelled:
    """Options with a label each, 1 for right and 0 for wrong: a mapping, or a list of choices and one of labels."""
    value = row[name]
    if not isinstance(value, Mapping):
        raise Misfit(f"{name!r} must be an object of options and labels, not {shown(value)}")
    if isinstance(value.get("choices"), list) and isinstance(value.get("labels"), list):
        options, labels = texts_at(value, "choices"), value["labels"]
        if len(labels) != len(options):
            raise Misfit(f"{name!r} has {len(options)} choices and {len(labels)} labels: each needs one")
    else:
        # Where rows of one Parquet file have different options, each has all of them, most without a label.
        given = without_nothing(value)
        options, labels = texts_at({name: list(given)}, name), list(given.values())
    return once(Labelled(options, right_of(labels, name)))


def once(labelled: Labelled) -> Labelled:
    """The same without options that repeat one that is as right or wrong, as some rows of published sets do."""
    pairs = list(dict.fromkeys((option, place in labelled.right) for place, option in enumerate(labelled.options)))
    return Labelled(tuple(option for option, _ in pairs), tuple(place for place, (_, true) in enumerate(pairs) if true))


def right_of(labels: Sequence[Any], name: str) -> tuple[int, ...]:
    """The places of the right ones among labels."""
    for label in labels:
        if isinstance(label, bool) or label not in (0, 1):
            raise Misfit(f"{name!r}: a label must be 1 (right) or 0 (wrong), not {shown(label)}")
    return tuple(place for place, label in enumerate(labels) if label == 1)


def separated(cell: str) -> list[str]:
    """The different answers of a cell."""
    return list(dict.fromkeys(answer.strip() for answer in cell.split(";") if answer.strip()))
