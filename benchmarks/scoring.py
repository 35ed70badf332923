"""Log-probabilities of given answers: `LM.logprob` beside padded batches with a full log-softmax.

Time is measured in turns in one process; extra memory (the peak above the loaded and warmed model) in a process of
its own for each side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from figures import (
    Demand,
    Row,
    Settings,
    Turn,
    by_rate,
    figure,
    forget_peak,
    in_fresh_turns,
    in_turns,
    processor_ratio,
    resident_gb,
    timed,
)
from machine import rates, shapes_of
from workloads import answered, model_folder, peer_model, tokenizer_in

from selfalign import weights
from selfalign.engines.transformers import TransformersEngine
from selfalign.ports import Rendered
from selfalign.render import rendered
from selfalign.types import Chat, Rendering

PEER_BATCH = 16


@torch.inference_mode()
def peer_sums(model: Any, sequences: Sequence[Rendered], *, padding: int) -> list[float]:
    """Each answer's summed log-probability from padded batches in arrival order, logits at every position."""
    sums: list[float] = []
    for start in range(0, len(sequences), PEER_BATCH):
        batch = sequences[start : start + PEER_BATCH]
        length = max(len(one.ids) for one in batch)
        ids = torch.tensor([[*one.ids, *[padding] * (length - len(one.ids))] for one in batch])
        attention = torch.tensor([[1] * len(one.ids) + [0] * (length - len(one.ids)) for one in batch])
        answer = torch.tensor([[*one.loss, *[False] * (length - len(one.ids))] for one in batch])
        logits = model(input_ids=ids, attention_mask=attention).logits
        log_p = torch.log_softmax(logits[:, :-1].float(), dim=-1).gather(-1, ids[:, 1:, None])[..., 0]
        sums.extend((log_p * answer[:, 1:]).sum(dim=1).tolist())
    return sums


def own_sums(opened: Any, chats: Sequence[Chat]) -> list[float]:
    """The same from selfalign."""
    scored = opened.logprob([(chat,) for chat in chats], rendering=Rendering())
    return [one.log_probability for (one,) in scored]


def rows(settings: Settings) -> Iterator[Row]:
    """Time, then memory."""
    yield time_row(settings)
    yield memory_row(settings)


def time_row(settings: Settings) -> Row:
    """Both sides in turns, in this process."""
    folder = model_folder(settings)
    tokenizer, peer = tokenizer_in(folder), peer_model(folder)
    chats = answered(settings.size(32, 4))
    sequences = [rendered(tokenizer, chat, Rendering()) for chat in chats]
    tokens = sum(len(one.ids) for one in sequences)
    answers = sum(sum(one.loss) for one in sequences)
    sums: dict[str, list[float]] = {}

    def theirs() -> float:
        sums["theirs"] = peer_sums(peer, sequences, padding=tokenizer.pad_token_id)
        return tokens

    with TransformersEngine(device="cpu").open(weights.pinned(settings.model), folder) as opened:

        def ours() -> float:
            sums["ours"] = own_sums(opened, chats)
            return tokens

        own_sums(opened, chats[:2])
        peer_sums(peer, sequences[:2], padding=tokenizer.pad_token_id)
        found = in_turns({"selfalign": lambda _: timed(ours), "padded": lambda _: timed(theirs)}, settings.repeats)
    difference = max(abs(a - b) for a, b in zip(sums["ours"], sums["theirs"], strict=True))
    limit = shapes_of(folder).flops(tokens=tokens, logits=answers) / rates(folder).reading
    own, other = found["selfalign"], found["padded"]
    median = sorted(turn.seconds for turn in other)[len(other) // 2]
    return by_rate(
        own,
        other,
        demand=Demand(must=1.4, aim=1.8),
        unit="tokens/s",
        id="scoring/time",
        stage="log-probabilities of answers",
        peer=f"padded batches of {PEER_BATCH}, arrival order, full log-softmax",
        limit=f"{figure(median / limit)}× ({figure(tokens / limit)} tokens/s)",
        note=f"{len(chats)} pairs of prompt and answer, {tokens} tokens, {answers} of them answer; sums differ by at "
        f"most {difference:.0e} nats; {processor_ratio(own, other)}.",
    )


def memory_row(settings: Settings) -> Row:
    """Each side in a process of its own."""
    found = in_fresh_turns({side: f"scoring:{side}" for side in ("ours", "theirs")}, settings, 1)
    ours, theirs = (tuple(turn.facts["extra_gb"] for turn in found[side]) for side in ("ours", "theirs"))
    return Row(
        id="scoring/memory",
        stage="log-probabilities: extra peak memory",
        peer=f"padded batches of {PEER_BATCH}, full log-softmax",
        unit="GB",
        ours=ours,
        theirs=theirs,
        judged=ours,
        demand=Demand(must=0.2, side="most", unit=" GB"),
        note="the highest resident memory above that of the loaded model after a warm-up of two rows; a process of "
        "its own for each side, once.",
    )


def alone(role: str, settings: Settings) -> Turn:
    """The extra memory of one side."""
    folder = model_folder(settings)
    chats = answered(settings.size(32, 4))
    before = 0.0
    if role == "ours":
        with TransformersEngine(device="cpu").open(weights.pinned(settings.model), folder) as opened:
            own_sums(opened, chats[:2])
            before = forget_peak()
            turn = timed(lambda: len(own_sums(opened, chats)))
    else:
        tokenizer, peer = tokenizer_in(folder), peer_model(folder)
        sequences = [rendered(tokenizer, chat, Rendering()) for chat in chats]
        peer_sums(peer, sequences[:2], padding=tokenizer.pad_token_id)
        before = forget_peak()
        turn = timed(lambda: len(peer_sums(peer, sequences, padding=tokenizer.pad_token_id)))
    turn.facts["extra_gb"] = resident_gb("VmHWM") - before
    return turn
