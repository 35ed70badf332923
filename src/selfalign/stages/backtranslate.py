"""From text to pairs: instructions are written for texts that already are good answers (Humpback, section 2).

The answer of a pair is never generated and never rewritten; only its instruction is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from selfalign.corpus.reasons import in_lines
from selfalign.corpus.words import words
from selfalign.errors import RecipeError, StageError
from selfalign.measures.health import ngrams
from selfalign.stage import Size, stage
from selfalign.types import Chat, Message, Table, Text
from selfalign.work import drop, rows

# Our own wording of the follow-up's description (2408.04614, app. A.2): the text first, the request after it.
BACKWARD_PROMPT = (
    "Here is a text that answers somebody's request.\n\n<<<\n{answer}\n>>>\n\n"
    "Write the request that this text most probably answers. {tag}"
)
# A model that talks about its task, rather than doing it: at the beginning of what it wrote, or about "this text".
META_TALK = re.compile(
    r"^\W*(?:sure[,!.:]|certainly[,!.:]|of course[,!.:]|okay[,!.:]|here(?: is|'s| are) (?:a|an|the|one|some)\b"
    r"|(?:(?:a|an|the|one)\s+)?(?:(?:possible|likely|probable|potential)\s+)?(?:instruction|question|request|prompt)"
    r"\s*(?::|(?:is|was|would be|could be|might be|may be|that)\b)"
    r"|(?:this|the (?:given|above|following)) (?:text|passage|response|answer|segment)"
    r" (?:is|was|answers|describes|explains|most|discusses)\b)",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class InstructionFilter:
    """Which backtranslated instructions are refused. Small backward models need it: they echo and talk about the task.

    `max_echo` is the largest share of an instruction's word triples that may stand in its answer.
    """

    min_characters: int = 10
    max_characters: int = 800
    max_echo: float = 0.6

    def __post_init__(self) -> None:
        """Refuse bounds that nothing lies between."""
        if self.min_characters > self.max_characters:
            raise RecipeError(
                f"method.filters: min_characters {self.min_characters} is above max_characters {self.max_characters}, "
                "so every instruction would be refused"
            )


def turned_size(size: Callable[[Any], Size], *, pairs: Table[Chat], tag: str) -> Size:
    """As many rows; prompt and answer change places."""
    given = size(pairs)
    return Size(given.rows, given.answer_tokens + 40 * given.rows, given.prompt_tokens)


@stage(version=1, needs="driver", expect=turned_size)
def turned(pairs: Table[Chat], *, tag: str) -> Iterator[Chat]:
    """Pairs turned round, to train the backward model p(x | y): the answer is asked about, the instruction answers.

    A pair without an answer, or with more than one user turn, is dropped with the reason.
    """
    for pair in rows(pairs):
        asked = [message.content for message in pair.prompt if message.role == "user"]
        if not pair.answer or len(asked) != 1:
            drop(pair.id, "no answer" if not pair.answer else f"{len(asked)} user turns instead of one")
            continue
        yield Chat(id=pair.id, prompt=backward_prompt(pair.answer, tag), answer=asked[0], parents=(pair.id,))


def backward_prompt(answer: str, tag: str) -> tuple[Message, ...]:
    """The question put to the backward model; a fence within the text cannot end it."""
    fenced = answer.replace(">>>", "> > >")
    return (Message(role="user", content=BACKWARD_PROMPT.format(answer=fenced, tag=tag).rstrip()),)


def asked_size(size: Callable[[Any], Size], *, texts: Table[Text], tag: str) -> Size:
    """One prompt a text."""
    given = size(texts)
    return Size(given.rows, given.answer_tokens + 40 * given.rows)


@stage(version=1, needs="driver", expect=asked_size)
def ask_for_instructions(texts: Table[Text], *, tag: str) -> Iterator[Chat]:
    """One prompt for the backward model about each text, with the text's id."""
    for text in rows(texts):
        yield Chat(id=text.id, prompt=backward_prompt(text.text, tag), parents=(text.id,))


def candidates_size(
    size: Callable[[Any], Size], *, texts: Table[Text], instructions: Table[Chat], filters: InstructionFilter
) -> Size:
    """At most one pair a text."""
    one, other = size(texts), size(instructions)
    return Size(one.rows, other.answer_tokens + 20 * one.rows, one.answer_tokens)


@stage(version=2, needs="driver", expect=candidates_size)
def candidates(texts: Table[Text], instructions: Table[Chat], *, filters: InstructionFilter) -> Iterator[Chat]:
    """The pairs (x̂, y): each text as the answer to the instruction written for it; implausible ones are dropped.

    Every refusal is counted by its reason: empty, cut, too short, too long, echo of the answer, talk about the task,
    an instruction that an earlier pair has too. A text that was not asked about, being too long, is refused, too.

    Raises:
        StageError: all are refused; says why.
    """
    seen: set[str] = set()
    reasons: Counter[str] = Counter()
    told = rows(instructions)
    written = next(told, None)
    for text in rows(texts):
        if written is None or written.id != text.id:
            reason, instruction = "the text is too long for the backward model", ""
        else:
            instruction = (written.answer or "").strip()
            reason = implausible(instruction, text.text, filters, finished=written.finished)
            written = next(told, None)
        if not reason and instruction.casefold() in seen:
            reason = "the same instruction as an earlier pair's"
        if reason:
            drop(text.id, reason)
            reasons[reason] += 1
            continue
        seen.add(instruction.casefold())
        yield Chat(
            id=text.id, prompt=(Message(role="user", content=instruction),), answer=text.text, parents=(text.id,)
        )
    if not seen:
        raise StageError(
            f"the backward model wrote no plausible instruction; refused:{in_lines(reasons.most_common())}"
        )


def implausible(instruction: str, answer: str, filters: InstructionFilter, *, finished: bool) -> str:
    """Why an instruction is refused; empty when it is not."""
    if not instruction:
        return "the instruction is empty"
    if not finished:
        return "the instruction was cut by the token limit"
    if len(instruction) < filters.min_characters:
        return f"the instruction has fewer than {filters.min_characters} characters"
    if len(instruction) > filters.max_characters:
        return f"the instruction has more than {filters.max_characters} characters"
    if META_TALK.match(instruction) or tag_like(instruction):
        return "the instruction talks about the task itself"
    if echoed(instruction, answer) > filters.max_echo:
        return "the instruction echoes its answer"
    return ""


def tag_like(instruction: str) -> bool:
    """Whether an instruction repeats the marks and tags of the backward prompt instead of asking for something."""
    return "<<<" in instruction or ">>>" in instruction or instruction.casefold().startswith("answer in the style of")


def echoed(instruction: str, answer: str) -> float:
    """The share of an instruction's word triples (of all its words, if they are fewer) that stand in its answer."""
    asked, given = words(instruction), words(answer)
    n = min(3, len(asked))
    parts = ngrams(asked, n) if n else []
    there = set(ngrams(given, n)) if n else set()
    return sum(part in there for part in parts) / len(parts) if parts else 0.0


def tagged_size(size: Callable[[Any], Size], *, pairs: Table[Chat], tag: str) -> Size:
    """As many rows, each a tag longer."""
    given = size(pairs)
    return Size(given.rows, given.prompt_tokens + given.rows * len(tag) // 4, given.answer_tokens)


@stage(version=1, needs="driver", expect=tagged_size)
def tagged(pairs: Table[Chat], *, tag: str) -> Iterator[Chat]:
    """Pairs with a tag at the end of their last user message: where an answer comes from (section 2.3, S_a and S_w)."""
    for pair in rows(pairs):
        last = max(place for place, message in enumerate(pair.prompt) if message.role == "user")
        said = Message(role="user", content=f"{pair.prompt[last].content}\n\n{tag}")
        yield replace(pair, prompt=(*pair.prompt[:last], said, *pair.prompt[last + 1 :]))
