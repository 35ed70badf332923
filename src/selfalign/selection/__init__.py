"""Which rows to take: pure functions over arrays, each with its reference and its cost. No model, no files, no stages."""
