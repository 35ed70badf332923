"""Where files that others published lie, beside the project, for tests that read them whole; they skip without."""

from pathlib import Path

PUBLIC = Path(__file__).resolve().parents[2] / "shared" / "data"
