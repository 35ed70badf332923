"""Pairwise judging without a model: what a judge is told, how its verdict is read, what two orders amount to."""
