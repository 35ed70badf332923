"""The verbs of the methods, a family a file."""
