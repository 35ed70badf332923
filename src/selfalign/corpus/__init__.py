"""Raw text in, clean segments out: pure functions over texts, each with its reference. No files, stages or models."""
