"""What the trainer tests share: a model of a few thousand weights, rows for it, and a process that dies."""

from __future__ import annotations

import hashlib
import os
import pickle
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from selfalign.ports import AnswerExample, PairExample, Rendered, Step, Trainer, TrainingOrder
from selfalign.trainers.batches import collate
from selfalign.trainers.forward import micro_batch_log_probabilities
from selfalign.trainers.losses import sequence_log_probabilities
from selfalign.trainers.torch_loop import TorchLoop
from selfalign.types import Dpo, Lora, Model, Optimisation, Sft

VOCABULARY = 32
TINY = Model(ref="path:tiny", digest="tiny")
ADAPTERS = Lora(r=4, alpha=8.0)
FAST = Optimisation(learning_rate=2e-2, batch_size=4, num_train_epochs=3, schedule="constant", warmup_ratio=0.0)


def make_tiny(folder: Path) -> Path:
    """A model folder: random weights, a word-level tokenizer, a chat template."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        attention_dropout=0.5,  # must be off in training
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=True,
        initializer_range=0.2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    words = {"<pad>": 0, "<s>": 1, "</s>": 2} | {f"w{index}": index for index in range(3, VOCABULARY)}
    splitter = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    splitter.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=splitter,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        chat_template="{% for m in messages %}{{ m.content }} {% endfor %}",
    )
    tokenizer.save_pretrained(folder)
    return folder


def rendered(prompt: int, answer: int, *, seed: int) -> Rendered:
    """A sequence of random words, `prompt` of them not learned."""
    draw = torch.Generator().manual_seed(seed)
    ids = tuple(torch.randint(3, VOCABULARY, (prompt + answer,), generator=draw).tolist())
    return Rendered(ids=ids, loss=(False,) * prompt + (True,) * answer, attention=(True,) * (prompt + answer))


def answers(count: int = 10) -> list[AnswerExample]:
    """Sequences of different lengths."""
    return [
        AnswerExample(id=f"row-{index}", sequence=rendered(2 + index % 4, 3 + index % 5, seed=index))
        for index in range(count)
    ]


def pairs(folder: Path, count: int = 10) -> list[PairExample]:
    """Pairs whose reference is the model in `folder` itself."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    made = []
    for index in range(count):
        prompt = rendered(2 + index % 4, 0, seed=index)
        sides = [joined(prompt, rendered(0, 2 + (index + side) % 6, seed=1000 * side + index)) for side in (1, 2)]
        batch = collate([AnswerExample(id="", sequence=side) for side in sides], padding_id=0)
        with torch.no_grad():
            log_p = micro_batch_log_probabilities(model, batch)
        chosen, rejected = sequence_log_probabilities(log_p, sequence_N=batch.sequence_N, sequences=2).tolist()
        made.append(
            PairExample(
                id=f"pair-{index}",
                chosen=sides[0],
                rejected=sides[1],
                reference_chosen=chosen,
                reference_rejected=rejected,
            )
        )
    return made


def joined(prompt: Rendered, answer: Rendered) -> Rendered:
    """A prompt and an answer as one sequence."""
    return Rendered(
        ids=prompt.ids + answer.ids, loss=prompt.loss + answer.loss, attention=prompt.attention + answer.attention
    )


def fit(order: TrainingOrder, folder: Path, place: Path, *, trainer: Trainer | None = None) -> list[Step]:
    """Train into `place`/out with `place`/scratch."""
    place.mkdir(parents=True, exist_ok=True)
    trainer = trainer or TorchLoop(device="cpu")
    return trainer.fit(order, model=TINY, folder=folder, out=place / "out", scratch=place / "scratch")


def digest(place: Path) -> str:
    """Names the bits of the weights in `place`/out."""
    return hashlib.sha256((place / "out" / "model.safetensors").read_bytes()).hexdigest()


def weights(place: Path) -> dict[str, torch.Tensor]:
    """The weights in `place`/out."""
    from safetensors.torch import load_file

    return load_file(place / "out" / "model.safetensors")


def order_of(kind: str, folder: Path, *, lora: Lora | None = None, optimisation: Optimisation = FAST) -> TrainingOrder:
    """An SFT or DPO order over ten rows."""
    if kind == "sft":
        return TrainingOrder(answers(), Sft(), optimisation, lora, 7)
    return TrainingOrder(pairs(folder), Dpo(beta=0.5), optimisation, lora, 7)


@dataclass(frozen=True)
class Killed:
    """An `Advance` that ends its own process, without any chance to tidy up, after some step."""

    after_step: int

    def __call__(self, *, rows: int = 0, tokens: int = 0, step: int | None = None) -> None:
        if step == self.after_step:
            os.kill(os.getpid(), signal.SIGKILL)


def train_and_die(order: TrainingOrder, folder: Path, place: Path, trainer: TorchLoop, after_step: int) -> None:
    """Runs in a process of its own."""
    torch.set_num_threads(1)
    trainer.fit(
        order,
        model=TINY,
        folder=folder,
        out=place / "out",
        scratch=place / "scratch",
        advance=Killed(after_step),
    )


def main() -> None:
    """Train a pickled order in one of several processes a launcher started; the first one keeps the steps."""
    order, folder, place = pickle.loads(Path(sys.argv[1]).read_bytes())
    steps = fit(order, folder, place)
    if os.environ["RANK"] == "0":
        (place / "steps.pickle").write_bytes(pickle.dumps(steps))


if __name__ == "__main__":
    main()
