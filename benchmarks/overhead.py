"""How much of a round is the loop's own: wall time of a rehearsal less the time spent inside stage bodies.

One command, one table: `python benchmarks/overhead.py`. The toy model is the worst case: its stages take seconds, a
real model's minutes, and the loop's share falls accordingly. Start-up is compared with a bare interpreter.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from selfalign.playing import play_recipe

RECIPE = Path(__file__).parent.parent / "recipes" / "spin-rehearsal.yaml"


class Clock:
    """Adds up the seconds that stage bodies report."""

    def __init__(self) -> None:
        self.inside = 0.0
        self.calls = 0

    def hear(self, event: dict) -> None:
        if event["event"] == "made":
            self.inside += event["seconds"]
            self.calls += 1


def overhead(recipe: Path, repeats: int) -> list[tuple[float, float, int]]:
    """Whole seconds, seconds inside bodies and calls made, run by run; the first one, which imports, is left out."""
    found = []
    for number in range(repeats + 1):
        with tempfile.TemporaryDirectory() as folder:
            clock = Clock()
            started = time.perf_counter()
            play_recipe(recipe, [f"place.store={folder}/store"], Path(folder) / "run", observers=(clock,))
            if number:
                found.append((time.perf_counter() - started, clock.inside, clock.calls))
    return found


def journal_shares(run: Path) -> None:
    """Print the loop's share of every playing that made something, from a run's journal (whole seconds)."""
    playings: list[list[dict]] = []
    for line in (run / "journal.jsonl").read_text("utf-8").splitlines():
        event = json.loads(line)
        if event["event"] == "begun":
            playings.append([])
        playings[-1].append(event)
    for events in playings:
        inside = sum(event["seconds"] for event in events if event["event"] == "made")
        first, last = (time.mktime(time.strptime(events[end]["time"], "%Y-%m-%dT%H:%M:%S%z")) for end in (0, -1))
        if inside:
            print(f"{run}: {last - first:.0f} s, {inside:.1f} s inside stage bodies")


def seconds_of(command: list[str], repeats: int) -> list[float]:
    """Wall seconds of a command, run by run."""
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        taken.append(time.perf_counter() - started)
    return sorted(taken)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--run", type=Path, help="only read the journal of this run")
    options = parser.parse_args()
    if options.run:
        journal_shares(options.run)
        return
    repeats = options.repeats
    print("command                       seconds min / median / max")
    bare = seconds_of([sys.executable, "-c", "pass"], repeats)
    for name, arguments in (("--help", ["--help"]), ("plan", ["plan", str(RECIPE)])):
        taken = seconds_of([sys.executable, "-m", "selfalign", *arguments], repeats)
        print(f"selfalign {name:<18} {taken[0]:.2f} / {statistics.median(taken):.2f} / {taken[-1]:.2f}")
    print(f"python -c pass               {bare[0]:.2f} / {statistics.median(bare):.2f} / {bare[-1]:.2f}")
    runs = overhead(options.recipe, repeats)
    shares = sorted((whole - inside) / whole for whole, inside, _ in runs)
    own = statistics.median(whole - inside for whole, inside, _ in runs)
    print(f"\n{options.recipe.stem}: {statistics.median(whole for whole, _, _ in runs):.1f} s, {runs[0][2]} calls")
    print(
        f"the loop's own: {own:.2f} s a run (reading, sealing, comparing, report), "
        f"{1000 * own / runs[0][2]:.0f} ms a call"
    )
    print("share of the run: " + " / ".join(f"{100 * share:.1f} %" for share in shares))
    print(json.dumps({"own_seconds": own, "shares": shares}))


if __name__ == "__main__":
    main()
