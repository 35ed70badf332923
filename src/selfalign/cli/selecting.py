"""The options of `selfalign select`, as data: names, choices and what each is for. Their meaning is elsewhere."""

from __future__ import annotations

from typing import Any

SELECT = (
    "Pick rows of a dataset: embeds (or rates) them with a model, selects, and writes the chosen rows "
    "in the data's own format with the reasons and a page to look at. Trains nothing. Run it again to resume; another "
    "--n embeds nothing again."
)
SELECTORS = (
    "k-center", "farthest", "k-means", "facility-location",
    "random", "least-confidence", "margin", "entropy", "ifd", "perplexity",
)  # fmt: skip


def option(name: str, says: str, **more: Any) -> tuple[str, dict[str, Any]]:
    """One option; those not given are None, so that one without effect can be refused."""
    return name, {"help": says, "default": None, **more}


SELECT_OPTIONS = (
    option("--by", "the selector (default: k-center)", choices=SELECTORS, **{"default": "k-center"}),
    option("--model", "the model that embeds or rates the rows, such as embedded:smollm2", metavar="REF"),
    option("--embeddings", "ready vectors as numpy.save writes them, one for each row of the data", metavar="FILE.npy"),
    option("--metric", "how far rows are apart (default: euclidean)", choices=("euclidean", "cosine")),
    option("--normalise", "what is done to vectors (default: nothing)", choices=("nothing", "unit")),
    option("--whiten", "keep so many whitened components of the vectors", type=int, metavar="COMPONENTS"),
    option("--text", "what is embedded (default: prompt-and-answer)", choices=("prompt-and-answer", "prompt")),
    option("--pooling", "which tokens a vector is the mean of (default: all)", choices=("all", "answer", "last")),
    option("--layer", "whose hidden states: 0 the input embeddings, -1 the last layer (default)", type=int),
    option("--quality", "first keep the best rows: by ifd, or by a number in the data, field:NAME", metavar="MEASURE"),
    option("--quality-share", "the share of rows that is kept by quality (default: 0.5)", type=float, metavar="SHARE"),
    option("--low-percentile", "where the band of --by perplexity begins (default: 25)", type=float, metavar="P"),
    option("--high-percentile", "where it ends (default: 75)", type=float, metavar="P"),
    option("--uncertainty-of", "of what (default: logits, as in DiverseEvol)", choices=("logits", "probabilities")),
    option("--uncertainty-over", "over which tokens (default: all)", choices=("all", "answer")),
    option("--prompt", "how a prompt is written (default: chat)", choices=("chat", "instruction-response", "alpaca")),
    option("--max-length", "cut rows at so many tokens (default: 2048)", type=int, metavar="TOKENS"),
    option("--seed", "the draw of random and k-means (default: 0)", type=int),
    option("--device", "where models work: auto (default), cpu, cuda …"),
    option("--dtype", "in which precision (default: float32)", choices=("float32", "bfloat16")),
)
