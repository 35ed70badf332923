"""Seconds, memory and passes of k-center greedy selection beside what others do, in one run.

    python benchmarks/selection.py                 # peers, then scaling
    python benchmarks/selection.py --part peers    # N = 20,000, D = 576: 1,000 picks from 100 initial centres
    python benchmarks/selection.py --part scale    # N = 10^4, 10^5, 10^6, D = 384, memory-mapped: 1,000 picks

The peers: the official DiverseEvol code keeps the N x N matrix of distances and, for every pick, takes the minimum
over the labelled columns anew and copies the matrix twice (a row leaves, a column comes). "Plain incremental" keeps the
least distance of each row and makes one pass over the vectors for every pick. All sides take turns, so that they meet
the same neighbours; the full matrix has as many turns as --matrix-turns says, for it takes most of the time.

Vectors are float32 of unit length around 200 directions. On a busy machine set OMP_WAIT_POLICY=PASSIVE and read the
ratios.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import torch

from selfalign.selection.k_center import k_center

SEED = 0
CLUSTERS = 200
INITIAL = 100
ROWS_DRAWN_AT_ONCE = 10_000


def fill(vectors_ND: Any) -> Any:
    """Clustered unit vectors, written in blocks into an array or a memory map."""
    draw = numpy.random.default_rng(SEED)
    count, width = vectors_ND.shape
    directions = draw.standard_normal((CLUSTERS, width), dtype=numpy.float32)
    for start in range(0, count, ROWS_DRAWN_AT_ONCE):
        size = min(ROWS_DRAWN_AT_ONCE, count - start)
        block = directions[draw.integers(0, CLUSTERS, size)]
        block += numpy.float32(0.5) * draw.standard_normal((size, width), dtype=numpy.float32)
        block /= numpy.linalg.norm(block, axis=1, keepdims=True)
        vectors_ND[start : start + size] = block
    return vectors_ND


class Counted:
    """A matrix that counts the rows read from it."""

    def __init__(self, vectors_ND: Any) -> None:
        self.vectors_ND = vectors_ND
        self.shape, self.dtype, self.ndim = vectors_ND.shape, vectors_ND.dtype, 2
        self.read = 0

    def __len__(self) -> int:
        return len(self.vectors_ND)

    def __getitem__(self, rows: Any) -> Any:
        block = self.vectors_ND[rows]
        self.read += len(block) if block.ndim == 2 else 1
        return block


def full_matrix_numpy(vectors_ND: Any, count: int) -> list[int]:
    """The official algorithm: all distances, then for each pick the minimum over all labelled columns."""
    squares_N = numpy.einsum("nd,nd->n", vectors_ND, vectors_ND)
    distances_NN = vectors_ND @ vectors_ND.T
    distances_NN *= -2
    distances_NN += squares_N[:, None]
    distances_NN += squares_N
    numpy.sqrt(numpy.maximum(distances_NN, 0, out=distances_NN), out=distances_NN)
    rows_U = numpy.arange(INITIAL, len(vectors_ND))
    matrix_UL = distances_NN[INITIAL:, :INITIAL]
    picks = []
    for _ in range(count):
        position = int(matrix_UL.min(axis=1).argmax())
        row = int(rows_U[position])
        picks.append(row)
        rows_U = numpy.delete(rows_U, position)
        matrix_UL = numpy.delete(matrix_UL, position, 0)
        matrix_UL = numpy.append(matrix_UL, distances_NN[rows_U, row][:, None], axis=1)
    return picks


@torch.inference_mode()
def full_matrix_torch(vectors_ND: Any, count: int) -> list[int]:
    """The same in torch, which the official code uses."""
    vectors = torch.from_numpy(vectors_ND)
    distances_NN = torch.cdist(vectors, vectors)
    rows_U = torch.arange(INITIAL, len(vectors))
    matrix_UL = distances_NN[INITIAL:, :INITIAL]
    picks = []
    for _ in range(count):
        position = int(matrix_UL.min(dim=1).values.argmax())
        row = int(rows_U[position])
        picks.append(row)
        rows_U = torch.cat((rows_U[:position], rows_U[position + 1 :]))
        matrix_UL = torch.cat((matrix_UL[:position], matrix_UL[position + 1 :]))
        matrix_UL = torch.cat((matrix_UL, distances_NN[rows_U, row][:, None]), dim=1)
    return picks


def incremental(vectors_ND: Any, count: int) -> list[int]:
    """One pass over the vectors for every centre, in numpy."""
    squares_N = numpy.einsum("nd,nd->n", vectors_ND, vectors_ND)
    least_N = numpy.full(len(vectors_ND), numpy.inf, numpy.float32)
    picks: list[int] = []
    for step in range(INITIAL + count):
        row = step if step < INITIAL else int(least_N.argmax())
        if step >= INITIAL:
            picks.append(row)
        product_N = vectors_ND @ vectors_ND[row]
        product_N *= -2
        product_N += squares_N
        product_N += squares_N[row]
        numpy.minimum(least_N, product_N, out=least_N)
        least_N[: INITIAL if step < INITIAL else 0] = -numpy.inf
        least_N[row] = -numpy.inf
    return picks


def own(vectors_ND: Any, count: int) -> list[int]:
    """selfalign."""
    return [int(row) for row in k_center(vectors_ND, count, chosen=range(INITIAL)).rows]


SIDES: dict[str, Callable[[Any, int], list[int]]] = {
    "selfalign": own,
    "plain incremental (numpy)": incremental,
    "full matrix (numpy)": full_matrix_numpy,
    "full matrix (torch)": full_matrix_torch,
}


def spread(values: list[float], digits: int = 2) -> str:
    """Median, and smallest to largest."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def extra_memory(work: Callable[[], Any], matrix_bytes: int) -> str:
    """The most that numpy holds beside the matrix, as a share of it."""
    tracemalloc.start()
    work()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return f"{100 * most / matrix_bytes:.1f} %"


def compared(picks: list[int], others: list[int]) -> str:
    """How far two selections agree."""
    if picks == others:
        return "same rows, same order"
    first = next(place for place, (one, other) in enumerate(zip(picks, others, strict=True)) if one != other)
    return f"{len(set(picks) & set(others))} of {len(picks)} rows in common; order differs from pick {first}"


def passes(vectors_ND: Any, count: int) -> float:
    """How often selfalign reads the matrix, rows it reads again included."""
    counted = Counted(vectors_ND)
    own(counted, count)
    return counted.read / len(vectors_ND)


def peers(count: int, width: int, picks: int, *, turns: int, matrix_turns: int) -> None:
    """Every side in turns over one matrix."""
    vectors_ND = fill(numpy.empty((count, width), numpy.float32))
    seconds: dict[str, list[float]] = {name: [] for name in SIDES}
    chosen: dict[str, list[int]] = {}
    own(vectors_ND[:2000], 10)
    for turn in range(turns):
        for name, side in SIDES.items():
            if turn >= matrix_turns and name.startswith("full"):
                continue
            began = time.perf_counter()
            chosen[name] = side(vectors_ND, picks)
            seconds[name].append(time.perf_counter() - began)
    print(f"\n## {picks:,} picks of {count:,} x {width} from {INITIAL} initial centres, {turns} turns\n")
    print("| side | seconds, median (min-max) | times selfalign's, per turn | extra memory / matrix | picks |")
    print("| --- | --- | --- | --- | --- |")
    for name, side in SIDES.items():
        ratios = [other / mine for mine, other in zip(seconds["selfalign"], seconds[name], strict=False)]
        if name.endswith("(torch)"):
            # torch does not report to tracemalloc: the N x N matrix alone is counted.
            memory = f"> {100 * count / width:.0f} %"
        else:
            memory = extra_memory(partial(side, vectors_ND, picks if side is own else 2), vectors_ND.nbytes)
        same = compared(chosen[name], chosen["selfalign"])
        print(f"| {name} | {spread(seconds[name])} | {spread(ratios, 1)} | {memory} | {same} |", flush=True)
    print(
        f"\nRows read / rows of the matrix: selfalign {passes(vectors_ND, picks):.2f}, incremental {picks + INITIAL}."
    )


def scale(width: int, picks: int, *, counts: list[int], turns: int) -> None:
    """selfalign over memory maps of growing length, sizes in turns."""
    with tempfile.TemporaryDirectory() as folder:
        mapped = {}
        for count in counts:
            path = Path(folder) / f"{count}.npy"
            fill(numpy.lib.format.open_memmap(path, "w+", numpy.float32, (count, width))).flush()
            mapped[count] = numpy.load(path, mmap_mode="r")
        seconds: dict[int, list[float]] = {count: [] for count in counts}
        for _ in range(turns):
            for count, vectors_ND in mapped.items():
                began = time.perf_counter()
                own(vectors_ND, picks)
                seconds[count].append(time.perf_counter() - began)
        print(
            f"\n## {picks:,} picks from {INITIAL} initial centres, D = {width}, float32, memory-mapped, {turns} turns\n"
        )
        print("| rows | seconds, median (min-max) | microseconds a row | rows read / rows | extra memory / matrix |")
        print("| --- | --- | --- | --- | --- |")
        for count, vectors_ND in mapped.items():
            per_row = 1e6 * statistics.median(seconds[count]) / count
            memory = extra_memory(partial(own, vectors_ND, picks), vectors_ND.nbytes)
            read = f"{passes(vectors_ND, picks):.2f}"
            print(f"| {count:,} | {spread(seconds[count])} | {per_row:.2f} | {read} | {memory} |", flush=True)
    medians = [statistics.median(seconds[count]) for count in counts]
    for (low, fast), (high, slow) in zip(
        list(zip(counts, medians, strict=True))[:-1], list(zip(counts, medians, strict=True))[1:], strict=True
    ):
        exponent = math.log(slow / fast) / math.log(high / low)
        print(f"\nFrom {low:,} to {high:,} rows seconds grow as rows to the power {exponent:.2f}.")


def main() -> None:
    """Run the parts asked for and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("all", "peers", "scale"), default="all")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--width", type=int, default=576)
    parser.add_argument("--picks", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--matrix-turns", type=int, default=1)
    parser.add_argument("--scale-rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    options = parser.parse_args()
    blas = numpy.show_config(mode="dicts")["Build Dependencies"]["blas"]
    print(
        f"numpy {numpy.__version__}, {blas['name']} {blas['version']}; torch {torch.__version__}; {os.cpu_count()} CPUs"
    )
    print(f"load average before: {os.getloadavg()}")
    if options.part != "scale":
        peers(options.rows, options.width, options.picks, turns=options.turns, matrix_turns=options.matrix_turns)
    if options.part != "peers":
        scale(384, options.picks, counts=options.scale_rows, turns=options.turns)
    print(f"\nload average after: {os.getloadavg()}")


if __name__ == "__main__":
    main()
