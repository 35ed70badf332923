"""Controls: what a recipe's rounds are compared with so that a gain can be put down to them, and to nothing else."""
