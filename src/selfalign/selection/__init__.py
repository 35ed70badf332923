"""Which rows to take: pure functions over arrays, each with its reference and cost. No model, no files, no stages."""
