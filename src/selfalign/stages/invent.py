"""A model invents tasks: it continues lists of given ones until so many new, usable tasks are there.

Self-Instruct's first step (Wang et al., 2212.10560) as I-SHEEP uses it. What a list looks like and how it is read is
`synthesis.task_list`'s business, what is refused `synthesis.task_filters`'; this stage asks, counts and stops.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from selfalign.corpus.reasons import in_lines
from selfalign.corpus.words import excerpt
from selfalign.errors import NothingLeft, RecipeError, StageError
from selfalign.keys import seed_of
from selfalign.measures.novelty import Novelty
from selfalign.stage import Size, stage
from selfalign.synthesis.task_filters import TaskFilter
from selfalign.synthesis.task_list import REQUEST, Task, Unreadable, read_tasks, task_list, task_of
from selfalign.types import Chat, Instruction, Message, Model, Rendering, Sampling, Table
from selfalign.work import advance, drop, in_shards, note, rows, serving

PROMPTS_PER_SHARD = 64
# What a plan assumes a prompt to give, and how long a task is.
TASKS_A_PROMPT, TOKENS_A_TASK = 4, 40
SHOWN_REPLIES = 3
# A list must leave so many tokens of the context: fewer hold no task.
LEAST_ROOM = 32
TOO_LONG = (
    "no list of tasks fits into what the model can be shown, its context or max_length of method.task_rendering, "
    "whichever is less: take fewer shots (method.synthesis.shots), shorter seeds, or a shorter method.synthesis.request"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Synthesis:
    """How tasks are invented: lists of `shots` tasks are continued until `target` new ones are accepted.

    `generated_shots` of the shots are tasks of earlier rounds, where there are any; the others, by default all, are
    seeds, of which the first paragraph is the instruction and the rest the input. `request` leads a list. After
    `max_barren_prompts` lists in a row without a new task the model is taken to have none left.
    """

    target: int = 10_000
    shots: int = 5
    generated_shots: int = 0
    request: str = REQUEST
    sampling: Sampling = Sampling(max_new_tokens=1000, temperature=1.0, top_p=0.95)
    filters: TaskFilter = TaskFilter()
    max_barren_prompts: int = 200

    def __post_init__(self) -> None:
        """Refuse more generated shots than shots."""
        if self.generated_shots > self.shots:
            raise RecipeError(
                f"synthesis: generated_shots {self.generated_shots} is more than shots {self.shots}, of which it is a "
                "part"
            )


def tasks_size(size: Callable[[Any], Size], *, seeds: Table[Any], synthesis: Synthesis, **_: Any) -> Size:
    """As many tasks as asked for.

    Raises:
        RecipeError: there are fewer seeds than shots; so a plan says it before anything is computed.
    """
    given = size(seeds).rows
    if given < synthesis.shots:
        raise RecipeError(
            f"a list begins with {synthesis.shots} seed tasks (synthesis.shots), and there are {given} seeds: give "
            "more, or ask for fewer shots"
        )
    written = synthesis.target * synthesis.sampling.max_new_tokens // TASKS_A_PROMPT
    return Size(synthesis.target, synthesis.target * TOKENS_A_TASK, work_tokens=written)


@stage(version=1, needs="serve", expect=tasks_size)
def invent(
    model: Model,
    seeds: Table[Chat | Instruction],
    known: tuple[Table[Chat], ...],
    *,
    synthesis: Synthesis,
    rendering: Rendering,
    seed: int,
) -> Iterator[Chat]:
    """`synthesis.target` new tasks, or as many as the model has in it; `parents` are the tasks it was shown.

    New: an instruction repeats none of the seeds, of the `known` tasks of earlier rounds, nor of those accepted before
    it (`filters.novelty`). List i is made and continued with streams derived from (seed, i), so neither shards nor a
    restart change what is accepted. Refused candidates are kept with their reasons, and counted by rule.

    Raises:
        StageError: a seed is no task.
        NothingLeft: the model gives no usable task at all; shows what it wrote instead.
    """
    shown = [seed_task(chat) for chat in rows(seeds)]
    before = [(chat.id, task_of(asked_of(chat))) for table in known for chat in rows(table)]
    search = Search(synthesis, seed)
    for row_id, task in (*shown, *before):
        search.know(row_id, task)
    with serving(model) as lm:

        def tokens_only(*, rows: int = 0, tokens: int = 0, step: int | None = None) -> None:
            advance(tokens=tokens)

        def ask(shard: list[Chat]) -> Iterable[Chat]:
            asked = [
                chat
                for chat, room in zip(shard, lm.prompt_room(shard, rendering=rendering), strict=True)
                if room >= min(LEAST_ROOM, synthesis.sampling.max_new_tokens)
            ]
            streams = [seed_of(seed, chat.id) for chat in asked]
            made = lm.generate(
                asked, sampling=synthesis.sampling, rendering=rendering, seeds=streams, advance=tokens_only
            )
            written = dict(zip((chat.id for chat in asked), made, strict=True))
            for chat in shard:
                reply = written.get(chat.id)
                # A list that does not fit has no answer.
                yield chat if reply is None else replace(chat, answer=reply.text, finished=reply.finished)

        shard_size = max(1, min(PROMPTS_PER_SHARD, synthesis.target // TASKS_A_PROMPT))
        for reply in in_shards(lists(shown, before, synthesis, seed), ask, size=shard_size, counted=False):
            for chat in search.passed(reply):
                advance(rows=1)
                yield chat
            if search.ended:
                break
    for name, value in search.facts().items():
        note(name, value)
    if not search.accepted:
        raise NothingLeft(search.failure())


def lists(
    seeds: Sequence[tuple[str, Task]], before: Sequence[tuple[str, Task]], synthesis: Synthesis, seed: int
) -> Iterator[Chat]:
    """One list after another to be continued, without end: which tasks it begins with depends on (seed, i) alone."""
    generated = min(synthesis.generated_shots, len(before))
    for number in count():
        draw = random.Random(seed_of(seed, "shots", str(number)))
        shots = [*draw.sample(seeds, synthesis.shots - generated), *draw.sample(before, generated)]
        draw.shuffle(shots)
        text = task_list([task for _, task in shots], request=synthesis.request)
        yield Chat(
            id=f"task-{seed}-{number:06}",
            prompt=(Message(role="user", content=text),),
            parents=tuple(row_id for row_id, _ in shots),
        )


def seed_task(chat: Chat | Instruction) -> tuple[str, Task]:
    """A seed as a task.

    Raises:
        StageError: it has no instruction, or several user turns.
    """
    turns = [message.content for message in chat.prompt if message.role == "user"]
    if len(turns) != 1 or not turns[0].strip():
        fault = f"{len(turns)} user turns instead of one" if len(turns) != 1 else "no instruction"
        raise StageError(f"seed {chat.id!r} has {fault}; mend it or leave it out (method.seeds)")
    return chat.id, task_of(turns[0])


def asked_of(chat: Chat) -> str:
    """The user's one message."""
    return next(message.content for message in chat.prompt if message.role == "user")


@dataclass(slots=True)
class Search:
    """What is accepted and refused while replies pass."""

    synthesis: Synthesis
    seed: int
    accepted: int = 0
    lists_read: int = 0
    too_long: int = 0
    barren: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    first_replies: list[str] = field(default_factory=list)
    index: Novelty | None = None

    def __post_init__(self) -> None:
        """An index where newness is asked for."""
        if self.synthesis.filters.novelty is not None:
            self.index = Novelty(self.synthesis.filters.novelty)

    def know(self, row_id: str, task: Task) -> None:
        """Remember a task that later ones must not repeat."""
        if self.index is not None:
            self.index.keep(row_id, task.instruction)

    @property
    def ended(self) -> bool:
        """Whether there are enough tasks, or no more to be hoped for."""
        return self.accepted >= self.synthesis.target or self.barren >= self.synthesis.max_barren_prompts

    def passed(self, reply: Chat) -> Iterator[Chat]:
        """The new tasks in one continued list, until there are enough; all others are dropped with the reason."""
        self.barren += 1
        if reply.answer is None:
            self.too_long += 1
            return
        self.lists_read += 1
        if len(self.first_replies) < SHOWN_REPLIES:
            self.first_replies.append(reply.answer)
        pieces = read_tasks(reply.answer, number=self.synthesis.shots + 1, finished=reply.finished)
        if not pieces:
            self.unreadable["there is no task in the reply"] += 1
        for number, piece in enumerate(pieces):
            row_id = f"{reply.id}-{number:02}"
            if self.accepted >= self.synthesis.target:
                return
            if isinstance(piece, Unreadable):
                self.unreadable[piece.why] += 1
                drop(row_id, f"unreadable, {piece.why}: “{excerpt(piece.text, 80)}”")
            elif fault := self.fault(piece):
                drop(row_id, f"{fault}: “{excerpt(piece.instruction, 80)}”")
            else:
                self.know(row_id, piece)
                self.accepted += 1
                self.barren = 0
                yield Chat(
                    id=row_id, prompt=(Message(role="user", content=piece.prompt),), parents=tuple(reply.parents)
                )

    def fault(self, task: Task) -> str:
        """Why a task is refused, counted by the rule's name; empty when it is not."""
        rule = self.synthesis.filters.fault(task)
        reason = f"refused by {rule}" if rule else ""
        if not rule and self.index is not None and (twin := self.index.twin(task.instruction)) is not None:
            rule, reason = "novelty", f"refused by novelty, ROUGE-L {twin.overlap:.2f} with {twin.row_id!r}"
        if rule:
            self.refused[rule] += 1
        return reason

    def facts(self) -> dict[str, Any]:
        """Counts for the report."""
        return {
            "lists_continued": self.lists_read,
            "lists_too_long": self.too_long,
            "accepted": self.accepted,
            "short_by": self.synthesis.target - self.accepted,
            "unreadable": dict(self.unreadable.most_common()),
            "refused": dict(self.refused.most_common()),
        }

    def failure(self) -> str:
        """The message about a model that invents nothing usable."""
        if not self.lists_read:
            return TOO_LONG
        refused = ((f"refused by {rule}", number) for rule, number in self.refused.most_common())
        counts = (*self.unreadable.most_common(), *refused)
        replies = "".join(f"\n  {excerpt(reply, 300)!r}" for reply in self.first_replies)
        return (
            f"the model continued {self.lists_read:,} lists of tasks and invented none that can be used:"
            f"{in_lines(counts)}\n"
            f"Its first replies:{replies}\nremedy: a larger or tuned model, another rendering of the list "
            "(method.task_rendering), more room (method.synthesis.sampling.max_new_tokens), or milder filters "
            "(method.synthesis.filters)"
        )
