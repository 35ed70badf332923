"""Models on this machine, opened with the transformers library.

Only the settings live here; what needs a tensor library is in `opened`, and is imported when a model is opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from selfalign.errors import EngineError
from selfalign.ports import LM
from selfalign.processor import imports_uncollected
from selfalign.types import Model


@dataclass(frozen=True, slots=True)
class TransformersEngine:
    """Generates and scores with a decoder-only model, on a CPU or a CUDA device.

    device: `auto` is CUDA if there is one, else the CPU. dtype: of the weights. `rows_at_once` rows are decoded
    together, and a forward pass takes at most `tokens_at_once` tokens. None of these changes which draw a row gets.
    """

    device: str = "auto"
    dtype: str = "float32"
    rows_at_once: int = 64
    tokens_at_once: int = 4096

    @contextmanager
    def open(self, model: Model, folder: Path | None) -> Iterator[LM]:
        """An opened model; the last one stays loaded, so that the next stage of this process finds it ready.

        Raises:
            EngineError: there is no folder, it lacks a part of a model, or this machine cannot hold it.
        """
        if folder is None:
            raise EngineError(f"{model.ref} has no weights to open; choose the engine that serves it")
        with imports_uncollected():
            from selfalign.engines.opened import OpenedModel, loaded

        yield OpenedModel(
            loaded(folder, name=model.ref, device=self.device, dtype=self.dtype),
            rows_at_once=self.rows_at_once,
            tokens_at_once=self.tokens_at_once,
        )

    def release(self) -> None:
        """Free the model that stayed loaded."""
        from selfalign.engines.opened import release

        release()
