"""What the loop itself costs: time outside stage bodies, and resuming a finished run.

    python benchmarks/bench.py --only overhead           # on SmolLM2, as `make bench` does
    python benchmarks/overhead.py                        # the toy rehearsal: the worst case, its stages take seconds
    python benchmarks/overhead.py --run runs/spin-laptop # read a run's journal

The loop's own are reading, sealing, comparing and the report. A real run's stages take minutes, and its share falls
accordingly.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figures import Demand, Row, Settings, Turn, figure, in_turns, spread
from startup import ended_after

from selfalign.playing import play_recipe

RECIPE = Path(__file__).parent.parent / "recipes" / "spin-rehearsal.yaml"
NO_ROUND_BEAT_THE_BASE = 3
SMALL = """
method:
  name: spin
  base: {model}
  demonstrations: embedded:house-style#train#{rows}
  beta: [1.0]
  learning_rate: [3.0e-4]
  sampling: {{max_new_tokens: {tokens}, temperature: 1.0}}
  optimisation: {{optimiser: adamw, num_train_epochs: 1, batch_size: 4}}
  lora: {{r: 16, alpha: 32}}
rounds: 1
evaluate:
  dev: {{held_out: embedded:house-style#dev}}
  sampling: {{max_new_tokens: {tokens}, temperature: 1.0}}
stop: {{metric: nll}}
"""


@dataclass(slots=True)
class StageClock:
    """Adds up the seconds that stage bodies report."""

    inside: float = 0.0
    calls: int = 0

    def hear(self, event: Mapping[str, Any]) -> None:
        """Count a call that was carried out."""
        if event["event"] == "made":
            self.inside += event["seconds"]
            self.calls += 1


def played(recipe: Path, folder: Path) -> Turn:
    """One run from an empty store: whole seconds, and those inside bodies."""
    clock = StageClock()
    began = time.perf_counter()
    play_recipe(recipe, [f"place.store={folder}/store"], folder / "run", observers=(clock,))
    return Turn(
        seconds=time.perf_counter() - began, amount=clock.calls, facts={"inside": clock.inside, "calls": clock.calls}
    )


def played_anew(recipe: Path) -> Turn:
    """One run in a folder that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        return played(recipe, Path(folder))


def share(turn: Turn) -> float:
    """The loop's own share of a run."""
    return (turn.seconds - turn.facts["inside"]) / turn.seconds


# ------------------------------------------------------------------------------------------------- rows


def rows(settings: Settings) -> Iterator[Row]:
    """The loop's share of a small run on the real model, and resuming that run in a fresh process."""
    with tempfile.TemporaryDirectory() as place:
        recipe = Path(place) / "small.yaml"
        count, tokens = settings.size(16, 2), settings.size(64, 4)
        recipe.write_text(SMALL.format(model=settings.model, rows=count, tokens=tokens))
        played_anew(RECIPE)  # imports are start-up, which is another row
        folders = [Path(place) / str(turn) for turn in range(settings.repeats + 1)]
        found = in_turns({"small run": lambda turn: played(recipe, folders[turn])}, settings.repeats)["small run"]
        yield share_row(found, f"one SPIN round of {count} rows on SmolLM2 with its evaluation, {tokens} new tokens")
        folder = folders[-1]
        command = [
            sys.executable, "-m", "selfalign", "run", str(recipe), "-o", str(folder / "run"), "-s",
            f"place.store={folder}/store",
        ]  # fmt: skip
        resumed = in_turns(
            {"resume": lambda _: ended_after(command, codes=(0, NO_ROUND_BEAT_THE_BASE))}, settings.repeats
        )["resume"]
    seconds = tuple(turn.seconds for turn in resumed)
    yield Row(
        id="overhead/resume",
        stage="resume of a finished run",
        peer="–",
        unit="s",
        ours=seconds,
        theirs=(),
        judged=seconds,
        demand=Demand(must=2, side="most", unit=" s"),
        note="the run above, asked for again in a fresh process: from the start of `selfalign run` to its end.",
    )


def share_row(found: list[Turn], what: str) -> Row:
    """The loop's share of some runs."""
    shares = tuple(100 * share(turn) for turn in found)
    own = [turn.seconds - turn.facts["inside"] for turn in found]
    return Row(
        id="overhead/loop",
        stage="loop overhead",
        peer="sum of stage bodies",
        unit="s",
        ours=tuple(turn.seconds for turn in found),
        theirs=tuple(turn.facts["inside"] for turn in found),
        judged=shares,
        demand=Demand(must=2, side="most", unit=" %"),
        note=f"{what}: {figure(found[0].facts['calls'])} calls; the loop's own {spread(own)} s a run (reading, "
        "sealing, comparing, report).",
    )


# -------------------------------------------------------------------------------------------- by itself


def journal_shares(run: Path) -> None:
    """Print the loop's share of every playing that made something, from a run's journal (whole seconds)."""
    playings: list[list[dict[str, Any]]] = []
    for line in (run / "journal.jsonl").read_text("utf-8").splitlines():
        event = json.loads(line)
        if event["event"] == "begun":
            playings.append([])
        playings[-1].append(event)
    for events in playings:
        inside = sum(event["seconds"] for event in events if event["event"] == "made")
        times = [time.mktime(time.strptime(str(events[end]["time"]), "%Y-%m-%dT%H:%M:%S%z")) for end in (0, -1)]
        if inside:
            print(f"{run}: {times[1] - times[0]:.0f} s, {inside:.1f} s inside stage bodies")


def main() -> None:
    """Print the toy rehearsal's share, or a journal's."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--run", type=Path, help="only read the journal of this run")
    options = parser.parse_args()
    if options.run:
        journal_shares(options.run)
        return
    played_anew(options.recipe)
    found = in_turns({"run": lambda _: played_anew(options.recipe)}, options.repeats)["run"]
    own = statistics.median(turn.seconds - turn.facts["inside"] for turn in found)
    calls = found[0].facts["calls"]
    print(f"{options.recipe.stem}: {statistics.median(turn.seconds for turn in found):.1f} s, {calls:.0f} calls")
    print(
        f"the loop's own: {own:.2f} s a run (reading, sealing, comparing, report), {1000 * own / calls:.0f} ms a call"
    )
    print("share of the run: " + " / ".join(f"{100 * value:.1f} %" for value in sorted(map(share, found))))


if __name__ == "__main__":
    main()
