"""How this process takes memory and imports large libraries: settings for speed alone, which change no result."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
KEPT_BYTES = 1 << 30


@cache
def keep_freed_memory() -> None:
    """Have memory that was freed kept for the next tensor.

    A forward pass frees and takes the same blocks again and again; given back to the system in between, every page
    costs a fault and is cleared anew. It holds for the whole process, to its end.
    """
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        # musl has none; an older glibc refuses the first, and the second alone would map every large tensor anew
        if hasattr(library, "mallopt") and library.mallopt(M_MMAP_THRESHOLD, KEPT_BYTES):
            library.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


@contextmanager
def imports_uncollected() -> Iterator[None]:
    """Import a large library here: while its million objects are made, all of them to stay, no garbage is looked for.

    Looking again and again takes a fifth of the time of the import.
    """
    collected = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collected:
            gc.enable()
