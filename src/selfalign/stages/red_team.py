"""Topic-guided red-teaming: a model thinks of topics for kinds of hard questions, then of questions about them.

SELF-ALIGN's first step beside plain self-instruct (Sun et al., 2305.03047, section 3.1). Topics are kept in balance: no
kind of question gets more of them than another.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from selfalign.corpus.words import excerpt, words
from selfalign.errors import RecipeError, StageError
from selfalign.keys import seed_of
from selfalign.measures.novelty import Novelty
from selfalign.stage import Size, stage
from selfalign.stages.generate import whole
from selfalign.types import Chat, Message, Model, Probe, Rendering, Sampling, Table
from selfalign.work import advance, drop, in_shards, note, rows, serving

# Our own wording of both requests.
TOPICS_REQUEST = (
    "A list of short, varied topics for questions of one kind. Every topic is a noun phrase of one to three words and "
    "differs from the others.\n\nKind of question: {kind}\nTopics:\n"
)
QUESTIONS_REQUEST = (
    "Questions that are hard to answer well. Each is of the kind that is named and about the topic that is named.\n"
)
NUMBERING = re.compile(r"^[ \t]*(?:\d{1,4}[ \t]*[.):]|[-*])[ \t]*")
TOPICS_READ = 20
MOST_TOPIC_WORDS = 3
FEWEST_QUESTION_WORDS = 3
KNOWN_SHOWN = 5
SHOWN_REPLIES = 3
TOO_LONG = (
    "no list of topics fits into what the model can be shown: raise max_length of the rendering of lists "
    "(method.task_rendering), or name the kinds of questions in fewer words (method.probes)"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RedTeaming:
    """How hard questions are invented: `topics` new topics for each kind, one question about each.

    `shots` seed rows stand before a question that is asked for. After `max_barren_prompts` lists in a row without a new
    topic for a kind, that kind has no more; the kind with the fewest decides how many each one keeps.
    """

    topics: int = 20
    shots: int = 5
    max_barren_prompts: int = 20
    topic_sampling: Sampling = Sampling(max_new_tokens=128, temperature=1.0, top_p=0.98)
    question_sampling: Sampling = Sampling(max_new_tokens=96, temperature=1.0, top_p=0.95)
    novelty: float = 0.7


# ------------------------------------------------------------------------------------------------- topics


def topics_size(size: Callable[[Any], Size], *, probes: Table[Probe], red_teaming: RedTeaming, **_: Any) -> Size:
    """So many topics for each kind; every seed may be a kind of its own."""
    return Size(size(probes).rows * red_teaming.topics)


@stage(version=2, needs="serve", expect=topics_size)
def invent_topics(
    model: Model, probes: Table[Probe], *, red_teaming: RedTeaming, rendering: Rendering, seed: int
) -> Iterator[Probe]:
    """New topics for every kind of question among the probes, equally many for each, without questions yet.

    Raises:
        StageError: for some kind the model thinks of none; names it and shows what it wrote instead.
    """
    kinds: dict[str, Topics] = {}
    for probe in rows(probes):
        kinds.setdefault(probe.kind, Topics(probe.kind)).known.append(probe.topic)
    with serving(model) as lm:

        def ask(shard: list[Chat]) -> Iterable[Probe]:
            asked = whole(lm, shard, rendering)
            if not asked and not any(one.new for one in kinds.values()):
                raise StageError(TOO_LONG)
            seeds = [seed_of(seed, chat.id) for chat in asked]
            made = lm.generate(asked, sampling=red_teaming.topic_sampling, rendering=rendering, seeds=seeds)
            replies = {
                chat.id: last_whole_lines(reply.text, reply.finished) for chat, reply in zip(asked, made, strict=True)
            }
            for chat in shard:
                # A kind whose list is too long gets no topics: that counts, else it would be asked for ever.
                yield Probe(id=chat.id, kind=chat.parents[0], topic="", question=replies.get(chat.id, ""))

        # A shard is one list for every kind: the next ones show what these brought.
        for reply in in_shards(topic_prompts(kinds, red_teaming, seed), ask, size=len(kinds)):
            advance(rows=kinds[reply.kind].read(reply.question))
    short = [one for one in kinds.values() if not one.new]
    if short:
        shown = "".join(f"\n  {excerpt(reply, 200)!r}" for reply in short[0].replies) or "\n  none"
        raise StageError(
            f"the model thought of no topic for {len(short)} of {len(kinds)} kinds of questions, among them "
            f"{short[0].kind!r}; its replies:{shown}\nremedy: a larger model, another rendering "
            "or a longer one (method.task_rendering), or fewer kinds in method.probes"
        )
    least = min(red_teaming.topics, *(len(one.new) for one in kinds.values()))
    for number, one in enumerate(kinds.values()):
        for place, topic in enumerate(one.new):
            row_id = f"topic-{seed}-{number:03}-{place:04}"
            if place < least:
                yield Probe(id=row_id, kind=one.kind, topic=topic, question="")
            else:
                drop(row_id, f"every kind keeps {least} topics")
    note("kinds", len(kinds))
    note("topics_a_kind", least)


@dataclass(slots=True)
class Topics:
    """What is known of one kind of question."""

    kind: str
    known: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    barren: int = 0
    replies: list[str] = field(default_factory=list)

    def read(self, reply: str) -> int:
        """Take the new topics of a reply; gives how many there were."""
        if reply and len(self.replies) < SHOWN_REPLIES:
            self.replies.append(reply)
        seen = {topic.casefold() for topic in (*self.known, *self.new)}
        before = len(self.new)
        for topic in topics_in(reply):
            if topic.casefold() not in seen:
                seen.add(topic.casefold())
                self.new.append(topic)
        self.barren = 0 if len(self.new) > before else self.barren + 1
        return len(self.new) - before


def topic_prompts(kinds: dict[str, Topics], red_teaming: RedTeaming, seed: int) -> Iterator[Chat]:
    """A prompt for each kind in turn, until every kind has as many topics as one that gives no more will ever have."""
    for turn in count():
        ended = (len(one.new) for one in kinds.values() if one.barren >= red_teaming.max_barren_prompts)
        wanted = min((red_teaming.topics, *ended))
        if all(len(one.new) >= wanted for one in kinds.values()):
            return
        for one in kinds.values():
            draw = random.Random(seed_of(seed, "topics", one.kind, str(turn)))
            every = [*one.known, *one.new]
            shown = draw.sample(every, min(KNOWN_SHOWN, len(every)))
            listed = "".join(f"{number}. {topic}\n" for number, topic in enumerate(shown, 1))
            text = TOPICS_REQUEST.format(kind=one.kind) + f"{listed}{len(shown) + 1}."
            yield Chat(
                id=f"topics-{seed_of(seed, one.kind):016x}-{turn:04}",
                prompt=(Message(role="user", content=text),),
                parents=(one.kind,),
            )


def topics_in(reply: str) -> list[str]:
    """The topics of a list: a line each, of at most three words, that begins with a letter and ends in no full stop."""
    found = []
    for line in reply.splitlines()[:TOPICS_READ]:
        topic = NUMBERING.sub("", line).strip().strip("*_`\"'").strip()
        sound = topic and len(topic.split()) <= MOST_TOPIC_WORDS and topic[0].isalpha() and topic[-1] not in ".,;:!?"
        if sound:
            found.append(topic[0].upper() + topic[1:])
    return found


def last_whole_lines(text: str, finished: bool) -> str:
    """A text without its last line where that was cut."""
    return text if finished else text.rpartition("\n")[0]


# ---------------------------------------------------------------------------------------------- questions


def questions_size(
    size: Callable[[Any], Size], *, topics: Table[Probe], probes: Table[Probe], shots: int, **_: Any
) -> Size:
    """One prompt a topic.

    Raises:
        RecipeError: there are fewer probes than shots.
    """
    given = size(probes).rows
    if given < shots:
        raise RecipeError(
            f"{shots} examples are to stand before each question (method.red_teaming.shots), and there are {given} "
            "probes: give more, or ask for fewer"
        )
    return Size(size(topics).rows, size(topics).rows * 60 * (shots + 1))


@stage(version=1, needs="driver", expect=questions_size)
def ask_about_topics(topics: Table[Probe], probes: Table[Probe], *, shots: int, seed: int) -> Iterator[Chat]:
    """One prompt for each topic: some examples of kind, topic and question, then its kind and topic."""
    examples = list(rows(probes))
    for one in rows(topics):
        shown = random.Random(seed_of(seed, "questions", one.id)).sample(examples, shots)
        lines = [f"Kind: {each.kind}\nTopic: {each.topic}\nQuestion: {each.question}\n" for each in shown]
        text = "\n".join((QUESTIONS_REQUEST, *lines, f"Kind: {one.kind}\nTopic: {one.topic}\nQuestion:"))
        yield Chat(id=one.id, prompt=(Message(role="user", content=text),), parents=tuple(each.id for each in shown))


def read_size(size: Callable[[Any], Size], *, replies: Table[Chat], **_: Any) -> Size:
    """At most one question a reply."""
    given = size(replies).rows
    return Size(given, 30 * given)


@stage(version=2, needs="driver", expect=read_size)
def read_questions(replies: Table[Chat], probes: Table[Probe], *, novelty: float) -> Iterator[Chat]:
    """The question in each reply, its first line, as a prompt; cut, empty and repeated ones are dropped.

    Raises:
        StageError: none is left; shows what was written instead.
    """
    index = Novelty(novelty)
    for one in rows(probes):
        index.keep(one.id, one.question)
    refused: Counter[str] = Counter()
    first: list[str] = []
    kept = 0
    for reply in rows(replies):
        text = reply.answer or ""
        first = [*first, text][:SHOWN_REPLIES]
        question, rest, _ = text.lstrip().partition("\n")
        question = question.strip()
        why = ""
        if not rest and not reply.finished:
            why = "cut"
        elif len(words(question)) < FEWEST_QUESTION_WORDS:
            why = "no question"
        elif (twin := index.twin(question)) is not None:
            why = f"not new: ROUGE-L {twin.overlap:.2f} with {twin.row_id!r}"
        if why:
            refused[why.partition(":")[0]] += 1
            drop(reply.id, f"{why} “{excerpt(question, 80)}”")
            continue
        index.keep(reply.id, question)
        kept += 1
        yield Chat(id=reply.id, prompt=(Message(role="user", content=question),), parents=tuple(reply.parents))
    note("refused", dict(refused.most_common()))
    if not kept:
        shown = "".join(f"\n  {excerpt(reply, 200)!r}" for reply in first)
        raise StageError(f"the model asked no usable question; its first replies:{shown}")


# ------------------------------------------------------------------------------------------------ joining


def joined_size(size: Callable[[Any], Size], *, tables: tuple[Table[Chat], ...], seed: int) -> Size:
    """All rows."""
    sizes: Sequence[Size] = [size(table) for table in tables]
    return Size(sum(one.rows for one in sizes), sum(one.prompt_tokens for one in sizes))


@stage(version=1, needs="driver", expect=joined_size)
def shuffled_together(tables: tuple[Table[Chat], ...], *, seed: int) -> Iterator[Chat]:
    """The prompts of several tables, mixed by the seed and their ids, without answers."""
    every = [replace(chat, answer=None) for table in tables for chat in rows(table)]
    yield from sorted(every, key=lambda chat: seed_of(seed, "mixed", chat.id))
