"""Iterative self-alignment of language models: rounds, data decisions and evidence that can be trusted."""
