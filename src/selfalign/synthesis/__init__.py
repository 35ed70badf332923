"""How tasks are invented, as plain text: lists that a model continues, and rules for what it wrote. Pure."""
