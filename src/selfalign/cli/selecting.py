"""The options of `selfalign select`, as data: names, choices and what each is for. Their meaning is elsewhere."""

from __future__ import annotations

from typing import Any

SELECT = (
    "Pick rows of a dataset: embeds (or rates) them with a model, selects, and writes the chosen rows "
    "in the data's own format with the reasons and a page to look at. Trains nothing. For example: selfalign select "
    "rows.jsonl --n 5% --model embedded:smollm2. Run it again to resume; another --n embeds nothing again."
)
SELECTORS = (
    "k-center", "farthest", "k-means", "facility-location",
    "random", "least-confidence", "margin", "entropy", "ifd", "perplexity",
)  # fmt: skip


def option(name: str, says: str, **more: Any) -> tuple[str, dict[str, Any]]:
    """One option of a group; one that is not given is None, so that an idle one can be refused."""
    return name, {"help": says, "default": None, **more}


SELECT_OPTIONS: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "what to select by": (
        ("--by", {"help": "the selector (default: k-center)", "choices": SELECTORS, "default": "k-center"}),
        option("--model", "the model that embeds or rates the rows, such as embedded:smollm2", metavar="REF"),
        option("--embeddings", "ready vectors from numpy.save, one for each row; no model embeds", metavar="FILE.npy"),
        option("--seed", "the draw of random and k-means (default: 0)", type=int),
    ),
    "by vectors: k-center, farthest, k-means, facility-location": (
        option("--metric", "distances of k-center and farthest (default: euclidean)", choices=("euclidean", "cosine")),
        option("--text", "what is embedded (default: prompt-and-answer)", choices=("prompt-and-answer", "prompt")),
        option("--pooling", "which tokens a vector is the mean of (default: all)", choices=("all", "answer", "last")),
        option("--layer", "whose hidden states: 0 the input embeddings, -1 the last layer (default)", type=int),
        option("--normalise", "make vectors unit length (default: nothing)", choices=("nothing", "unit")),
        option("--whiten", "keep so many whitened components of the vectors", type=int, metavar="COMPONENTS"),
        option("--quality", "first keep the best rows: by ifd, or by a number in the data, field:NAME", metavar="BY"),
        option("--quality-share", "the share of rows kept by quality (default: 0.5)", type=float, metavar="SHARE"),
    ),
    "by perplexity, least-confidence, margin, entropy": (
        option("--low-percentile", "where the band of perplexity begins (default: 25)", type=float, metavar="P"),
        option("--high-percentile", "where it ends (default: 75)", type=float, metavar="P"),
        option(
            "--uncertainty-of",
            "confidence and margin of what (default: logits, as in DiverseEvol)",
            choices=("logits", "probabilities"),
        ),
        option("--uncertainty-over", "over which tokens (default: all)", choices=("all", "answer")),
    ),
    "how a model reads and where it works": (
        option(
            "--prompt", "how a prompt is written (default: chat)", choices=("chat", "instruction-response", "alpaca")
        ),
        option("--max-length", "cut rows at so many tokens (default: 2048)", type=int, metavar="TOKENS"),
        option("--device", "auto (default), cpu, cuda, …"),
        option("--dtype", "the precision (default: float32)", choices=("float32", "bfloat16")),
    ),
}
