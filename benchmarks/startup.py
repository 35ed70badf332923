"""Seconds from the start of a process until it is ready, and what the command line adds to a bare interpreter.

Ready to generate: the model is open. Ready to train: the trainer could take its first step. The peers are what has to
happen before the same moment with the usual libraries: loading the model through the Auto classes, and importing TRL's
trainers (their model is not even loaded then).
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from figures import Demand, Row, Settings, Turn, in_turns
from workloads import model_folder

OPENED = """
import time
from selfalign import weights
from selfalign.place import Place, adapters
model = weights.pinned({model!r})
folder = weights.folder(model)
engine, trainer, _ = adapters(Place(device="cpu"))
"""
OURS = {
    "generate": OPENED + "with engine.open(model, folder) as opened:\n    print(time.time())\n",
    "train": OPENED
    + """
from selfalign.ports import AnswerExample, Rendered, TrainingOrder
from selfalign.types import Optimisation, Sft
example = AnswerExample("0", Rendered(ids=tuple(range(16)), loss=(False,) * 8 + (True,) * 8, attention=(True,) * 16))
trainer.begin(TrainingOrder([example], Sft(), Optimisation(), None, 0), [example], model=model, folder=folder)
print(time.time())
""",
}
THEIRS = {
    "generate": """
import time
from transformers import AutoModelForCausalLM, AutoTokenizer
AutoTokenizer.from_pretrained({folder!r})
AutoModelForCausalLM.from_pretrained({folder!r}).eval()
print(time.time())
""",
    "train": "import time\nfrom trl import DPOTrainer, SFTTrainer\nprint(time.time())\n",
}
PEERS = {"generate": "transformers' Auto classes, model loaded", "train": "importing TRL's trainers, no model loaded"}
MOST_HELP_SECONDS = 0.2


def rows(settings: Settings) -> Iterator[Row]:
    """Ready to generate, ready to train, `--help`."""
    words = {"model": settings.model, "folder": str(model_folder(settings))}
    for name in ("generate", "train"):
        ours, theirs = (side[name].format(**words) for side in (OURS, THEIRS))
        ready_after(ours)  # what a first start writes (bytecode, page cache) belongs to neither side
        ready_after(theirs)
        found = in_turns({"ours": readiness(ours), "peer": readiness(theirs)}, settings.repeats)
        own, other = (tuple(turn.seconds for turn in found[side]) for side in ("ours", "peer"))
        yield Row(
            id=f"startup/{name}",
            stage=f"ready to {name}, from process start",
            peer=PEERS[name],
            unit="s",
            ours=own,
            theirs=other,
            judged=own,
            demand=Demand(must=3, aim=2.5, side="most", unit=" s"),
            note="warm page cache, a fresh interpreter each time; the model is loaded on our side.",
        )
    yield help_row(settings)


def help_row(settings: Settings) -> Row:
    """What `selfalign --help` adds to an interpreter that does nothing."""
    found = in_turns(
        {
            "--help": lambda _: ended_after([sys.executable, "-m", "selfalign", "--help"]),
            "bare": lambda _: ended_after([sys.executable, "-c", "pass"]),
        },
        max(settings.repeats, settings.size(5, 1)),
    )
    own, bare = (tuple(turn.seconds for turn in found[side]) for side in ("--help", "bare"))
    return Row(
        id="startup/help",
        stage="`selfalign --help`",
        peer="a bare interpreter",
        unit="s",
        ours=own,
        theirs=bare,
        judged=tuple(a - b for a, b in zip(own, bare, strict=True)),
        demand=Demand(must=MOST_HELP_SECONDS, side="most", unit=" s"),
        note="judged is the difference, turn by turn.",
    )


def readiness(code: str) -> Callable[[int], Turn]:
    """A side that starts a process with this code."""
    return lambda _turn: ready_after(code)


def ready_after(code: str) -> Turn:
    """Seconds from starting a process until it says that it is ready (by the same clock)."""
    began = time.time()
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return Turn(seconds=float(output.stdout.splitlines()[-1]) - began)


def ended_after(command: list[str], *, codes: tuple[int, ...] = (0,)) -> Turn:
    """Seconds from starting a command until it has ended, with one of these exit codes."""
    began = time.perf_counter()
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    turn = Turn(seconds=time.perf_counter() - began)
    if ended.returncode not in codes:
        raise SystemExit(f"{' '.join(command)} ended with {ended.returncode}:\n{ended.stderr[-2000:]}")
    return turn
