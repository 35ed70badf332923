"""The page about one selection: what was chosen, where it lies, and how it differs from all rows.

Works on values that somebody read from a store; how the page looks is the template's business.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from selfalign.report.html import page
from selfalign.report.selection_charts import order_chart, plane_chart
from selfalign.report.selection_terms import SELECTORS, VALUES, Measured, measured, short_number
from selfalign.report.visible import cut, shortened
from selfalign.types import Chat, Choice, Score, SetMeasure

MOST_DOTS = 3_000
MOST_DIAMONDS = 2_000
SAMPLE_SEED = 0
ENDS_SHOWN = 10
LONGEST_PROMPT, LONGEST_ANSWER, LONGEST_NEAREST = 500, 500, 80
MOST_REASONS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """A selection as those who write about it see it; `vectors_ND` has a row for each of the pool, or is None.

    `by_difficulty`: the scores are instruction-following difficulties.
    """

    by: str
    data: str
    pool: tuple[Chat, ...]
    choices: tuple[Choice, ...]
    measures: tuple[SetMeasure, ...]
    scores: tuple[Score, ...]
    vectors_ND: Any
    facts: tuple[tuple[str, str], ...]
    by_difficulty: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """One chosen row on the page; texts are cut, and say how much was left off."""

    order: int
    id: str
    place: str
    value: str
    prompt: tuple[str, int]
    answer: tuple[str, int] | None
    nearest: str
    nearest_prompt: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SelectionStory:
    """Everything the page says, in its order."""

    name: str
    headline: str
    facts: tuple[tuple[str, str], ...]
    picture: str
    picture_note: str
    chart: str
    value_says: str
    measures: tuple[Measured, ...]
    ends: tuple[tuple[str, tuple[Shown, ...]], ...]
    left_out: tuple[tuple[str, int], ...]


def selection_page(seen: Seen, places: Sequence[str]) -> str:
    """The page as text; `places` says where each chosen row stands in the data (`line 17`)."""
    return page("selection.html.jinja").render(story=selection_story(seen, places))


def selection_story(seen: Seen, places: Sequence[str]) -> SelectionStory:
    """What there is to say about a selection."""
    picture, note = pictured(seen)
    values = [choice.value for choice in seen.choices]
    value = VALUES[seen.by]
    return SelectionStory(
        name=f"{len(seen.choices):,} rows of {shortened(seen.data, 120)}",
        headline=headline(seen),
        facts=seen.facts,
        picture=picture,
        picture_note=note,
        chart=order_chart(values, unit=value.unit, title=f"{value.says} over choices", name="order"),
        value_says=value.says,
        measures=measured(seen.measures),
        ends=ends(seen, places),
        left_out=left_out(seen),
    )


def headline(seen: Seen) -> str:
    """The selection in one or two sentences."""
    count, pool = len(seen.choices), len(seen.pool)
    said = f"{count:,} of {pool:,} rows ({100 * count / pool:.1f} %), chosen by {seen.by}: {SELECTORS[seen.by]}."
    radius = next((one for one in seen.measures if one.id == "covering_radius"), None)
    if radius is not None and radius.chosen is not None:
        said += f" No row of the data is farther than {short_number(radius.chosen)} (Euclidean) from a chosen one."
    return said


# -------------------------------------------------------------------------------------------------- pictures


def pictured(seen: Seen) -> tuple[str, str]:
    """The picture of where the chosen rows lie, and what must be said beside it."""
    if seen.vectors_ND is None:
        return "", f"No picture: --by {seen.by} reads no vectors. With --embeddings FILE.npy it is drawn all the same."
    from selfalign.selection.space import principal_plane

    plane_N2, shares_2 = principal_plane(seen.vectors_ND)
    ids = {choice.id for choice in seen.choices}
    others = [place for place, chat in enumerate(seen.pool) if chat.id not in ids]
    numbers = {chat.id: place for place, chat in enumerate(seen.pool)}
    picked = [numbers[choice.id] for choice in seen.choices]
    dots, diamonds = sampled(others, MOST_DOTS), sampled(picked, MOST_DIAMONDS)
    across, up = (f"{100 * share:.1f} %" for share in shares_2)
    note = (
        f"Grey dots: rows that were not chosen{said_sample(dots, others)}. Diamonds: chosen rows"
        f"{said_sample(diamonds, picked)}. Across: the first principal component ({across} of the variance), up: the "
        f"second ({up})."
    )
    svg = plane_chart(
        [tuple(point) for point in plane_N2[dots].tolist()],
        [tuple(point) for point in plane_N2[diamonds].tolist()],
        shares=(float(shares_2[0]), float(shares_2[1])),
        title="Where the chosen rows lie",
        name="plane",
    )
    return svg, note


def sampled(places: list[int], most: int) -> list[int]:
    """At most so many of the places, drawn evenly by a fixed seed, in their order."""
    if len(places) <= most:
        return places
    drawn = random.Random(SAMPLE_SEED).sample(range(len(places)), most)
    return [places[number] for number in sorted(drawn)]


def said_sample(drawn: Sequence[int], all_of_them: Sequence[int]) -> str:
    """That only some are drawn, where that is so."""
    if len(drawn) == len(all_of_them):
        return f" ({len(drawn):,})"
    return f" (a random {len(drawn):,} of {len(all_of_them):,}, seed {SAMPLE_SEED})"


# ------------------------------------------------------------------------------------------------------ rows


def ends(seen: Seen, places: Sequence[str]) -> tuple[tuple[str, tuple[Shown, ...]], ...]:
    """The first and the last choices; all of them where they are few."""
    chats = {chat.id: chat for chat in seen.pool}
    numbered = list(zip(seen.choices, places, strict=True))

    def shown(some: Sequence[tuple[Choice, str]]) -> tuple[Shown, ...]:
        return tuple(shown_row(choice, chats, place) for choice, place in some)

    if len(numbered) <= 2 * ENDS_SHOWN:
        return (("All choices, in their order", shown(numbered)),)
    return (
        (f"The first {ENDS_SHOWN} choices", shown(numbered[:ENDS_SHOWN])),
        (f"The last {ENDS_SHOWN} choices", shown(numbered[-ENDS_SHOWN:])),
    )


def shown_row(choice: Choice, chats: dict[str, Chat], place: str) -> Shown:
    """One chosen row with its text and the row it was nearest to."""
    chat = chats[choice.id]
    near = chats.get(choice.nearest or "")
    return Shown(
        order=choice.order + 1,
        id=shortened(choice.id, 60),
        place=place,
        value="–" if choice.value is None else short_number(choice.value),
        prompt=cut(asked_of(chat), LONGEST_PROMPT),
        answer=None if chat.answer is None else cut(chat.answer, LONGEST_ANSWER),
        nearest="" if near is None else shortened(near.id, 60),
        nearest_prompt="" if near is None else cut(asked_of(near), LONGEST_NEAREST)[0],
    )


def asked_of(chat: Chat) -> str:
    """What the user said."""
    return "\n".join(message.content for message in chat.prompt if message.role == "user")


def left_out(seen: Seen) -> tuple[tuple[str, int], ...]:
    """Rows that could not be chosen, by reason, the most frequent first."""
    reasons = Counter(score.why for score in seen.scores if score.value is None)
    above = sum(score.value is not None and score.value > 1 for score in seen.scores)
    if seen.by_difficulty and above:
        reasons["IFD above 1: the instruction makes the answer less likely"] = above
    return tuple((shortened(reason), count) for reason, count in reasons.most_common(MOST_REASONS))
