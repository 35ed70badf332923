"""Grades without a model: what a grader is told, how its reply is read, how far it agrees with a gold file."""
