"""A selection in words: the facts for its page, and three lines for the console."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from selfalign.report.facts import seconds_text
from selfalign.report.selection import Seen
from selfalign.report.selection_terms import SELECTORS, VALUES, measured, short_number
from selfalign.report.visible import shortened
from selfalign.run import Run
from selfalign.selecting.wish import Wish
from selfalign.stages.select import BY_VECTORS
from selfalign.types import Embedding, Rendering, Source

POOLING = {"all": "mean over all tokens", "answer": "mean over the answer's tokens", "last": "the last token"}
TEXT = {"prompt-and-answer": "prompt and answer", "prompt": "the prompt alone"}
PROMPT = {
    "chat": "the model's chat template",
    "instruction-response": "### Instruction / ### Response",
    "alpaca": "the Alpaca template",
    "plain": "the text and a line break",
    "continued": "the text alone",
    "dialogue": "### User / ### Assistant, turn by turn",
}


def facts(wish: Wish, source: Source, run: Run) -> tuple[tuple[str, str], ...]:
    """What was selected, by what, from where, at what cost."""
    records = [run.store.record(key) for key in run.asked]
    seconds = sum(float(record.get("seconds", 0.0)) for record in records)
    return (
        ("data", f"{shortened(wish.data)} (content {source.digest[:8]})"),
        ("selector", f"{wish.by}: {SELECTORS[wish.by]}"),
        *of_model(wish),
        *of_vectors(wish),
        *of_quality(wish),
        ("seed", str(wish.seed or 0) if wish.by in ("random", "k-means") else f"none: {wish.by} draws nothing"),
        ("cost", f"{len(records)} calls, {seconds_text(seconds)} of computing when they were made"),
        ("made with", made_with(records)),
    )


def of_model(wish: Wish) -> Iterator[tuple[str, str]]:
    """The model that was asked, and how it read the rows."""
    if wish.asks_model():
        rendering: Rendering = wish.rendering()
        yield "model", shortened(str(wish.model))
        yield "read as", f"{PROMPT[rendering.prompt]}, cut at {rendering.max_length:,} tokens"
    if wish.by == "perplexity":
        selection = wish.selection()
        yield "band", f"percentiles {selection.low_percentile:g} to {selection.high_percentile:g} of the perplexity"
    if wish.by in ("least-confidence", "margin", "entropy"):
        selection = wish.selection()
        over = "all tokens" if selection.uncertainty_over == "all" else "the answer's tokens"
        yield "uncertainty", f"of {'the softmax' if wish.by == 'entropy' else selection.uncertainty_of}, over {over}"


def of_vectors(wish: Wish) -> Iterator[tuple[str, str]]:
    """The space in which rows are near or far."""
    if not wish.has_vectors():
        return
    selection = wish.selection()
    embedding: Embedding = selection.embedding
    if wish.embeddings is not None:
        made = f"those of {shortened(wish.embeddings)}"
    else:
        layer = "last layer" if embedding.layer == -1 else f"layer {embedding.layer}"
        made = f"hidden states of the {layer}, {POOLING[embedding.pooling]}, reading {TEXT[embedding.text]}"
    changed = "" if embedding.whiten is None else f"; {embedding.whiten} whitened components"
    changed += "; of length 1" if embedding.normalise == "unit" or embedding.whiten is not None else ""
    yield "vectors", made + changed + ("" if wish.by in BY_VECTORS else " (for the picture and the measures only)")
    if wish.by in ("k-center", "farthest"):
        yield "metric", selection.metric


def of_quality(wish: Wish) -> Iterator[tuple[str, str]]:
    """What rows had to be good at before their vectors counted."""
    if wish.quality is None:
        return
    field = wish.quality_field()
    by = "instruction-following difficulty (IFD)" if field is None else f"the field {field!r} of the data"
    yield "quality first", f"the best {100 * wish.selection().quality_share:g} % by {by}"


def made_with(records: list[dict[str, Any]]) -> str:
    """The package versions and devices on record."""
    found: dict[str, set[str]] = {}
    for record in records:
        device: Mapping[str, str] = {"device": record["device"]} if record.get("device") else {}
        for name, version in {**record.get("made_with", {}), **device}.items():
            found.setdefault(str(name), set()).add(str(version))
    return "; ".join(f"{name} {' and '.join(sorted(versions))}" for name, versions in found.items()) or "–"


def summary(seen: Seen) -> tuple[str, ...]:
    """Three lines: how many, by what value, and how the chosen rows differ from all."""
    count, pool = len(seen.choices), len(seen.pool)
    values = [choice.value for choice in seen.choices if choice.value is not None]
    share = f"{100 * count / pool:.1f} %"
    first = f"{count:,} of {pool:,} rows ({share}) of {shortened(seen.data)} chosen by {seen.by}"
    if values:
        ends = f"{short_number(values[0])} at first, {short_number(values[-1])} at last"
        second = f"{VALUES[seen.by].says}: {ends}"
    else:
        second = SELECTORS[seen.by]
    shown = [
        f"{one.says} {one.chosen} (all rows: {one.pool})"
        for one in measured(seen.measures)
        if one.id in ("prompt_words", "answer_words")
    ]
    return first, second, "; ".join(shown)
