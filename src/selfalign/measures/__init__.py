"""What can be said about answers and numbers by pure functions: checks, health, intervals."""
