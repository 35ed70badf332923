"""lm-evaluation-harness, from outside: what is asked of it, how its metrics are called, and what it wrote down.

Nothing here imports it: it runs as a program of its own.
"""
