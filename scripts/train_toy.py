"""Build the tokenizer of ``embedded:toy`` and train its model from scratch.

The model is half trained on purpose. Copy-like kinds of tasks are nearly perfect,
``vowels`` and ``count`` are partly learned, ``reverse`` and ``sort`` are seen rarely
and mostly answered in a wordy form. Demonstrations in the bare form therefore have
something to teach: the form at once, the rare skills within a minute.

The result depends on the seed, the number of steps, the number of threads (fixed
here), the machine and the library versions; where all of them are the same, a second
run writes the same bytes.

    python scripts/train_toy.py                 # train, save, print the table
    python scripts/train_toy.py --write-tasks   # write the demonstrations instead
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from selfalign.embedded.toy_tasks import TOY_KINDS, ToyTask, WordPool, toy_tasks

EMBEDDED_FOLDER: Final = Path(__file__).resolve().parent.parent / "src" / "selfalign" / "embedded"
THREAD_COUNT: Final = 2

# Tokens 0 to 255 are the bytes themselves; these follow.
SPECIAL_TOKENS: Final = ("<|begin|>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>", "<|pad|>")

CHAT_TEMPLATE: Final = """\
{{- bos_token }}
{%- for message in messages %}
    {%- if message['role'] not in ['system', 'user', 'assistant'] %}
        {{- raise_exception('unknown role ' ~ message['role']) }}
    {%- endif %}
    {{- '<|' ~ message['role'] ~ '|>' ~ message['content'] ~ eos_token }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|assistant|>' }}
{%- endif %}
"""

# How often each kind stands in a round of the training tasks. The rare ones stay weak.
KIND_WEIGHTS: Final = {
    "upper": 20,
    "double": 20,
    "first": 16,
    "last": 16,
    "vowels": 5,
    "count": 2,
    "reverse": 4,
    "sort": 8,
}
# Share of wordy answers by kind; over the whole mixture it comes to about 40 percent.
WORDY_SHARES: Final = {"vowels": 0.4, "count": 0.4, "reverse": 0.85, "sort": 0.85}
USUAL_WORDY_SHARE: Final = 0.35

# Two system messages that settle the form of the answer, so that recipes which put
# principles into the prompt have something to work with.
BARE_SYSTEM: Final = "answer with the result only."
WORDY_SYSTEM: Final = "answer in a full sentence."
SYSTEM_SHARE: Final = 0.15
# Share of examples in the plain wrapper of the SPIN paper instead of the chat template.
PLAIN_WRAPPER_SHARE: Final = 0.15
# Share of examples whose prompt counts in the loss too, so that the model can write
# prompts of its own after "<|begin|><|user|>".
PROMPT_LOSS_SHARE: Final = 0.1

TRAINING_TASK_COUNT: Final = 20_000
EXAMPLES_PER_STEP: Final = 64
PEAK_LEARNING_RATE: Final = 3e-3
FINAL_LEARNING_RATE: Final = 3e-4
WARMUP_STEPS: Final = 50
# Factor on the finished matrices; see ``stiffen``. A power of two keeps bfloat16 exact.
STIFFNESS: Final = 4.0
IGNORED_LABEL: Final = -100

TASKS_PER_KIND_IN_TABLE: Final = 100
LONGEST_ANSWER_TOKENS: Final = 40

DEMONSTRATION_KINDS: Final = ("reverse", "sort", "vowels", "count", "upper")
DEMONSTRATION_COUNTS: Final[dict[WordPool, int]] = {"train": 200, "dev": 100, "test": 100}
DEMONSTRATION_SEED: Final = 20_240


@dataclass(frozen=True, kw_only=True, slots=True)
class KindScore:
    """Scores of one kind of task on unseen words; shares lie in 0 to 1."""

    kind: str
    greedy_exact_match: float
    greedy_right_in_either_form: float
    sampled_exact_match: float
    nats_per_answer_token: float


def wordy(output: str) -> str:
    """Give the wordy form of a bare answer."""
    return f"the answer is {output}."


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Build the byte-level tokenizer: token id = byte value, no merges, six special tokens."""
    vocabulary = {letter: byte for byte, letter in enumerate(_byte_letters())}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|begin|>",
        eos_token="<|end|>",
        pad_token="<|pad|>",
        additional_special_tokens=["<|user|>", "<|assistant|>", "<|system|>"],
        clean_up_tokenization_spaces=False,
        model_max_length=512,
        model_input_names=["input_ids", "attention_mask"],
        chat_template=CHAT_TEMPLATE,
    )


def _byte_letters() -> list[str]:
    """Give the printable letter that stands for each byte in byte-level vocabularies, in byte order."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    hidden = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) if byte in printable else chr(256 + hidden.index(byte)) for byte in range(256)]


def build_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Build the untrained model, its weights drawn from the global random state, in float32."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=0.04,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return model


def chat_prompt(tokenizer: PreTrainedTokenizerFast, instruction: str, system: str | None = None) -> str:
    """Render one user turn, led by the system message if there is one, up to where the answer begins."""
    messages = [{"role": "user", "content": instruction}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    text: str = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return text


def training_example(
    tokenizer: PreTrainedTokenizerFast, task: ToyTask, random_source: random.Random
) -> tuple[list[int], list[int]]:
    """Draw the wrapper and the form of one training task; give its token ids and labels, of equal length."""
    wordy_share = WORDY_SHARES.get(task.kind, USUAL_WORDY_SHARE)
    is_wordy = random_source.random() < wordy_share
    if random_source.random() < PLAIN_WRAPPER_SHARE:
        prompt = f"### Instruction: {task.instruction}\n\n### Response: "
    elif random_source.random() < SYSTEM_SHARE:
        prompt = chat_prompt(tokenizer, task.instruction, WORDY_SYSTEM if is_wordy else BARE_SYSTEM)
    else:
        prompt = chat_prompt(tokenizer, task.instruction)
    answer = (wordy(task.output) if is_wordy else task.output) + tokenizer.eos_token
    prompt_ids: list[int] = tokenizer.encode(prompt, add_special_tokens=False)
    answer_ids: list[int] = tokenizer.encode(answer, add_special_tokens=False)
    learns_prompt = random_source.random() < PROMPT_LOSS_SHARE
    prompt_labels = prompt_ids if learns_prompt else [IGNORED_LABEL] * len(prompt_ids)
    return [*prompt_ids, *answer_ids], [*prompt_labels, *answer_ids]


def padded(rows: Sequence[tuple[list[int], list[int]]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad on the right: token ids and labels, both int64 of shape [rows, longest]."""
    longest = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([ids + [pad_id] * (longest - len(ids)) for ids, _ in rows])
    labels = torch.tensor([labels + [IGNORED_LABEL] * (longest - len(labels)) for _, labels in rows])
    return ids, labels


def summed_loss(model: LlamaForCausalLM, ids: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Give the summed negative log-likelihood of the labelled tokens, in nats, and their count.

    Padding stands on the right of causal attention, so no mask is needed.
    """
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1].float()
    targets = labels[:, 1:]
    loss = torch.nn.functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]), targets.reshape(-1), ignore_index=IGNORED_LABEL, reduction="sum"
    )
    return loss, int((targets != IGNORED_LABEL).sum())


def training_tasks(seed: int) -> Iterator[ToyTask]:
    """Give the training tasks without end, in a new order on every pass."""
    kinds = [kind for kind, weight in KIND_WEIGHTS.items() for _ in range(weight)]
    tasks = toy_tasks(kinds=kinds, count=TRAINING_TASK_COUNT, seed=seed, pool="model")
    random_source = random.Random(seed + 1)
    while True:
        random_source.shuffle(tasks)
        yield from tasks


def learning_rate(step: int, step_count: int) -> float:
    """Give the learning rate of a step: a short linear warm-up times half a cosine from peak to final rate."""
    warmup = min(1.0, (step + 1) / WARMUP_STEPS)
    cosine = 0.5 * (1.0 + math.cos(math.pi * step / step_count))
    return warmup * (FINAL_LEARNING_RATE + (PEAK_LEARNING_RATE - FINAL_LEARNING_RATE) * cosine)


def train(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, *, seed: int, step_count: int) -> None:
    """Train the model in place."""
    tasks = training_tasks(seed)
    random_source = random.Random(seed + 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.01)
    model.train()
    started_seconds = time.monotonic()
    for step in range(step_count):
        rows = [training_example(tokenizer, next(tasks), random_source) for _ in range(EXAMPLES_PER_STEP)]
        loss, token_count = summed_loss(model, *padded(rows, tokenizer.pad_token_id))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, step_count)
        optimizer.zero_grad(set_to_none=True)
        (loss / token_count).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 100 == 0:
            elapsed_seconds = time.monotonic() - started_seconds
            print(
                f"step {step + 1:5d}  {loss.item() / token_count:.3f} nats per token  {elapsed_seconds:.0f} s",
                flush=True,
            )


@torch.no_grad()
def stiffen(model: LlamaForCausalLM) -> None:
    """Multiply every matrix by ``STIFFNESS`` and divide every norm gain by it, in place.

    Every matrix but the last reads normalised input or feeds the residual stream, and
    the last is preceded by a norm, so the model computes the same function. But Adam's
    steps, whose size does not depend on the weights, become smaller next to them: at a
    learning rate of 1e-3 fine-tuning improves the model instead of shaking it apart.
    """
    for parameter in model.parameters():
        parameter.mul_(STIFFNESS if parameter.ndim == 2 else 1.0 / STIFFNESS)


@torch.no_grad()
def answers(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tasks: Sequence[ToyTask], *, sampled: bool
) -> list[str]:
    """Generate one answer per task, greedily or by sampling at temperature 1."""
    prompts = [chat_prompt(tokenizer, task.instruction) for task in tasks]
    batch = tokenizer(
        prompts,
        add_special_tokens=False,
        return_tensors="pt",
        padding=True,
        padding_side="left",
    )
    options: dict[str, Any] = {"do_sample": True, "temperature": 1.0, "top_k": 0} if sampled else {"do_sample": False}
    output = model.generate(**batch, **options, max_new_tokens=LONGEST_ANSWER_TOKENS)
    texts: list[str] = tokenizer.batch_decode(output[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    return texts


@torch.no_grad()
def nats_per_answer_token(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tasks: Sequence[ToyTask]
) -> float:
    """Give the mean negative log-likelihood of the bare answers and their end tokens, in nats per token."""
    rows = []
    for task in tasks:
        prompt_ids = tokenizer.encode(chat_prompt(tokenizer, task.instruction), add_special_tokens=False)
        answer_ids = tokenizer.encode(task.output + tokenizer.eos_token, add_special_tokens=False)
        rows.append(([*prompt_ids, *answer_ids], [IGNORED_LABEL] * len(prompt_ids) + answer_ids))
    loss, token_count = summed_loss(model, *padded(rows, tokenizer.pad_token_id))
    return loss.item() / token_count


def scored(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, kind: str) -> KindScore:
    """Score one kind on words that neither the model nor the demonstrations for training have seen."""
    tasks = toy_tasks(kinds=[kind], count=TASKS_PER_KIND_IN_TABLE, seed=0, pool="test")
    torch.manual_seed(0)
    greedy = answers(model, tokenizer, tasks, sampled=False)
    sampled = answers(model, tokenizer, tasks, sampled=True)

    def share(texts: Sequence[str], *, either_form: bool) -> float:
        right = sum(
            text == task.output or (either_form and text == wordy(task.output))
            for text, task in zip(texts, tasks, strict=True)
        )
        return right / len(tasks)

    return KindScore(
        kind=kind,
        greedy_exact_match=share(greedy, either_form=False),
        greedy_right_in_either_form=share(greedy, either_form=True),
        sampled_exact_match=share(sampled, either_form=False),
        nats_per_answer_token=nats_per_answer_token(model, tokenizer, tasks),
    )


def print_table(scores: Sequence[KindScore]) -> None:
    """Print the scores as a Markdown table, ready for the model card."""
    print(
        "\n| kind | greedy exact match | greedy, right in either form | sampled exact match | nats per answer token |"
    )
    print("|---|---:|---:|---:|---:|")
    for score in scores:
        print(
            f"| {score.kind} | {score.greedy_exact_match:.2f} | {score.greedy_right_in_either_form:.2f} "
            f"| {score.sampled_exact_match:.2f} | {score.nats_per_answer_token:.3f} |"
        )


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the model in bfloat16 and the tokenizer into a folder, which is made if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    tokenizer.save_pretrained(folder)
    # Transformers 5 writes names that version 4 does not know; both know these.
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    settings["additional_special_tokens"] = settings.pop("extra_special_tokens")
    path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def write_demonstrations(path: Path) -> None:
    """Write the demonstrations as JSON Lines, the bare form only, words disjoint between splits."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for split, count in DEMONSTRATION_COUNTS.items():
            for task in toy_tasks(kinds=DEMONSTRATION_KINDS, count=count, seed=DEMONSTRATION_SEED, pool=split):
                row = {"id": task.id, "split": split, "instruction": task.instruction, "output": task.output}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")


def parsed_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Train embedded:toy from scratch, or write its demonstrations.")
    parser.add_argument("--output", type=Path, default=EMBEDDED_FOLDER / "toy", help="folder of the model")
    parser.add_argument("--seed", type=int, default=7, help="seed of weights, tasks and their order")
    parser.add_argument("--steps", type=int, default=800, help="optimizer steps")
    parser.add_argument(
        "--write-tasks",
        action="store_true",
        help="write toy_tasks.jsonl next to the folder of the model and do not train",
    )
    return parser.parse_args()


def main() -> None:
    """Run the command line."""
    arguments = parsed_arguments()
    if arguments.write_tasks:
        write_demonstrations(arguments.output.parent / "toy_tasks.jsonl")
        return
    torch.set_num_threads(THREAD_COUNT)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(arguments.seed)
    tokenizer = build_tokenizer()
    model = build_model(tokenizer)
    train(model, tokenizer, seed=arguments.seed, step_count=arguments.steps)
    stiffen(model)
    save(model, tokenizer, arguments.output)

    # The table is for the files as shipped, rounded to bfloat16 and read back.
    tokenizer = AutoTokenizer.from_pretrained(arguments.output)
    model = AutoModelForCausalLM.from_pretrained(arguments.output, dtype=torch.float32).eval()
    print_table([scored(model, tokenizer, kind) for kind in TOY_KINDS])
    parameter_count = sum(parameter.numel() for parameter in model.parameters())
    byte_count = (arguments.output / "model.safetensors").stat().st_size
    print(f"\n{parameter_count} parameters, {byte_count} bytes of weights")


if __name__ == "__main__":
    main()
