"""A model chooses among given answers, by log-probability: MC1 and MC2 over all options of every item.

Three forms. `answers`: every option is an answer to the prompt, and its value the log-probability of the model giving
it, end token included. `answers-per-token`: the same, divided by its tokens, so that short options have no advantage.
`letters`: options are listed as A, B, C … in the user's turn and the letter is chosen, in as many orders as there are
options, so that each stands at each letter once; an option's value is the mean over the orders, in which a liking for
a letter or a place cancels out.

In the first two forms no option is seen beside another, so order cannot matter. An item with contexts (WinoGrande) is
weighed in them by the one continuation after each context. What does not fit into the rendering
is dropped with the reason: a cut option would be scored for something it does not say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from string import ascii_uppercase
from typing import Any, Literal

from selfalign.errors import StageError
from selfalign.keys import seed_of
from selfalign.measures.multiple_choice import likeliest, mc1, mc2
from selfalign.ports import LM
from selfalign.stage import Size, stage
from selfalign.types import Chat, Message, Model, MultipleChoice, OptionScores, Rendering, Result, Table
from selfalign.work import advance, drop, in_shards, rows, serving

ChoiceForm = Literal["answers", "answers-per-token", "letters"]

ITEMS_PER_SHARD = 128
TOO_LONG = "prompt and options are too long for rendering.max_length or for the model's context"
TOO_MANY = f"it has more options than there are letters, {len(ascii_uppercase)}"
TIED = "a wrong option is as likely as the likeliest"
ASKS_FOR_LETTER = "Which of these is the best answer? Reply with its letter."
LETTER_LEAD = "Answer:"
# Room for the tokens of a letter.
LETTER_TOKENS = 4


def chosen(
    model: Model,
    items: tuple[Table[MultipleChoice], ...],
    *,
    form: ChoiceForm,
    rendering: Rendering,
    seed: int,
    names: tuple[str, str] = ("mc1", "mc2"),
) -> Table[Result]:
    """Results of every item of every table under the names of the two readings; calls whatever stages that needs."""
    scores = tuple(
        score_letters(model, table, rendering=rendering, seed=seed)
        if form == "letters"
        else score_options(model, table, rendering=rendering)
        for table in items
    )
    return multiple_choice_results(items=items, scores=scores, form=form, names=names)


# --------------------------------------------------------------------------------------- options as answers


def options_size(size: Callable[[Any], Size], *, items: Table[MultipleChoice], **_: Any) -> Size:
    """One row an item; its prompt passes through the model once, and every option."""
    given = size(items)
    return Size(given.rows, work_tokens=given.prompt_tokens + given.answer_tokens)


@stage(version=1, needs="serve", expect=options_size)
def score_options(model: Model, items: Table[MultipleChoice], *, rendering: Rendering) -> Iterator[OptionScores]:
    """The log-probability of each option as the answer to its prompt; same order, ids of those that fit.

    The options of an item are rendered together, so all of them follow the same tokens.
    """
    with serving(model) as lm:

        def score(shard: list[MultipleChoice]) -> Iterable[OptionScores]:
            asked = [item for item in shard if fits(lm, item, rendering)]
            refuse_others(shard, asked, "answers")
            groups = [group for item in asked for group in groups_of(item)]
            apart = len(groups) > len(asked)  # the model counts groups: then not as rows
            made = iter(lm.logprob(groups, rendering=rendering, advance=tokens_alone if apart else advance))
            for item in asked:
                advance(rows=int(apart))
                scored = [one for _ in groups_of(item) for one in next(made)]
                values, tokens = zip(*((one.log_probability, one.tokens) for one in scored), strict=True)
                yield OptionScores(id=item.id, log_probabilities=values, tokens=tokens)

        yield from in_shards(rows(items), score, size=ITEMS_PER_SHARD)


def groups_of(item: MultipleChoice) -> list[tuple[Chat, ...]]:
    """Every option as an answer to the prompt; or the continuation as the answer to each context, by itself."""
    if not item.contexts:
        return [tuple(Chat(id=item.id, prompt=item.prompt, answer=option) for option in item.options)]
    *before, last = item.prompt
    prompts = [(*before, Message(role=last.role, content=context)) for context in item.contexts]
    return [(Chat(id=item.id, prompt=prompt, answer=item.continuation),) for prompt in prompts]


def tokens_alone(*, rows: int = 0, tokens: int = 0, step: int | None = None) -> None:
    """Tell of tokens; rows are counted elsewhere."""
    advance(tokens=tokens)


def fits(lm: LM, item: MultipleChoice, rendering: Rendering) -> bool:
    """Whether a model can read the whole prompt with each option, or each context with the continuation."""
    groups = groups_of(item)
    # The room of a prompt leaves out one token of the length: that of the answer's first.
    rooms = lm.prompt_room([group[0] for group in groups], rendering=rendering)
    return all(
        max(lm.answer_lengths(group, rendering=rendering)) <= room + 1
        for group, room in zip(groups, rooms, strict=True)
    )


def refuse_others(items: Iterable[MultipleChoice], asked: Iterable[MultipleChoice], form: ChoiceForm) -> None:
    """Keep the reasons why a model was not asked about some items."""
    known = {item.id for item in asked}
    for item in items:
        if item.id not in known:
            drop(item.id, why_unscored(item, form))
            advance(rows=1)


def why_unscored(item: MultipleChoice, form: ChoiceForm) -> str:
    """Why a model was not asked about an item."""
    return TOO_MANY if form == "letters" and len(item.options) > len(ascii_uppercase) else TOO_LONG


# ------------------------------------------------------------------------------------------------- letters


def letters_size(size: Callable[[Any], Size], *, items: Table[MultipleChoice], **_: Any) -> Size:
    """One row an item; prompt and options pass through the model in four or five orders, as most items have."""
    given = size(items)
    return Size(given.rows, work_tokens=5 * (given.prompt_tokens + given.answer_tokens))


@stage(version=1, needs="serve", expect=letters_size)
def score_letters(
    model: Model, items: Table[MultipleChoice], *, rendering: Rendering, seed: int
) -> Iterator[OptionScores]:
    """The mean log-probability of each option's letter over all rotations of an order drawn from (seed, id)."""
    with serving(model) as lm:

        def score(shard: list[MultipleChoice]) -> Iterable[OptionScores]:
            asked = [item for item in shard if len(item.options) <= len(ascii_uppercase)]
            asked = [item for item in asked if letters_fit(lm, item, rendering, seed)]
            refuse_others(shard, asked, "letters")
            found = {
                one.id: one
                for count in sorted({len(item.options) for item in asked})
                for one in with_letters(lm, [i for i in asked if len(i.options) == count], rendering, seed)
            }
            return [found[item.id] for item in asked]

        yield from in_shards(rows(items), score, size=ITEMS_PER_SHARD)


def with_letters(lm: LM, items: Sequence[MultipleChoice], rendering: Rendering, seed: int) -> Iterator[OptionScores]:
    """The scores of items that have as many options each."""
    count = len(items[0].options)
    prompts = [listed(item, order) for item in items for order in orders(item, seed)]
    letters = [f" {letter}" for letter in ascii_uppercase[:count]]
    made = iter(
        lm.choice(
            prompts, options=letters, rendering=rendering, advance=tokens_alone,
        )
    )  # fmt: skip
    for item in items:
        values: list[list[float]] = [[] for _ in item.options]
        for order in orders(item, seed):
            for place, value in zip(order, next(made), strict=True):
                values[place].append(value)
        advance(rows=1)
        yield OptionScores(
            id=item.id,
            # An exact sum: what a liking for letters adds to each option is the same to the last bit.
            log_probabilities=tuple(math.fsum(one) / count for one in values),
            tokens=(1,) * count,
        )


def orders(item: MultipleChoice, seed: int) -> list[tuple[int, ...]]:
    """The places of the options in an order drawn for this item, and in every rotation of it."""
    drawn = sorted(range(len(item.options)), key=lambda place: seed_of(seed, item.id, place))
    return [tuple(drawn[start:] + drawn[:start]) for start in range(len(drawn))]


def listed(item: MultipleChoice, order: Sequence[int]) -> Chat:
    """What a model is asked: the prompt with the options under letters, its reply begun."""
    lines = [f"{letter}. {item.options[place]}" for letter, place in zip(ascii_uppercase, order, strict=False)]
    *before, last = item.prompt
    asked = Message(role=last.role, content="\n".join([f"{last.content}\n", *lines, "", ASKS_FOR_LETTER]))
    return Chat(id=item.id, prompt=(*before, asked), answer=LETTER_LEAD)


def letters_fit(lm: LM, item: MultipleChoice, rendering: Rendering, seed: int) -> bool:
    """Whether a model can read the prompt whole in every order."""
    asked = [replace(listed(item, order), finished=False) for order in orders(item, seed)]
    rooms = lm.prompt_room(asked, rendering=rendering)
    begun = lm.answer_lengths(asked, rendering=rendering)
    return all(room >= length + LETTER_TOKENS for room, length in zip(rooms, begun, strict=True))


# ------------------------------------------------------------------------------------------------- results


def results_size(size: Callable[[Any], Size], *, items: tuple[Table[MultipleChoice], ...], **_: Any) -> Size:
    """Two results an item, and a third where items have several categories."""
    return Size(rows=3 * sum(size(table).rows for table in items))


@stage(version=1, needs="driver", expect=results_size)
def multiple_choice_results(
    *,
    items: tuple[Table[MultipleChoice], ...],
    scores: tuple[Table[OptionScores], ...],
    form: ChoiceForm,
    names: tuple[str, str] = ("mc1", "mc2"),
) -> Iterator[Result]:
    """`mc1`, `mc2` and, where items are of several categories, `mc1:category` of every item; ids as in the tables.

    `names` calls the two readings otherwise, for suites that are told apart from other choices.

    `reply` is the option of the highest value, or those that share it. An item that was not scored has no value, and
    the reason.

    Raises:
        StageError: two items have one id, or not one item was scored.
    """
    asked = [item for table in items for item in rows(table)]
    found = {one.id: one for table in scores for one in rows(table)}
    known: set[str] = set()
    for item in asked:
        if item.id in known:
            raise StageError(f"two multiple-choice items have the id {item.id!r}; rename one of their files, or the id")
        known.add(item.id)
    if not found:
        raise StageError(f"none of {len(asked)} multiple-choice items was scored: {why_unscored(asked[0], form)}")
    several = len({item.category for item in asked}) > 1
    for item in asked:
        for one in results_of(item, found.get(item.id), form, names):
            yield one
            if several and one.suite == names[0]:
                yield replace(one, suite=f"{names[0]}:{item.category}")


def results_of(
    item: MultipleChoice, scores: OptionScores | None, form: ChoiceForm, names: tuple[str, str]
) -> Iterator[Result]:
    """MC1 and MC2 of one item."""
    if scores is None:
        for suite in names:
            yield Result(id=item.id, suite=suite, value=None, why=why_unscored(item, form))
        return
    values = list(scores.log_probabilities)
    if form == "answers-per-token":
        values = [value / tokens for value, tokens in zip(values, scores.tokens, strict=True)]
    first = likeliest(values, item.right, item.best)
    passed = mc1(values, item.right, item.best)
    reply = " | ".join(item.options[place] for place in first)
    single, both = names
    yield Result(
        id=item.id, suite=single, value=float(passed), reply=reply, why="" if passed or len(first) == 1 else TIED
    )
    yield Result(id=item.id, suite=both, value=mc2(values, item.right))
