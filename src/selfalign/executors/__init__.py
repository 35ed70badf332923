"""Where stage bodies run."""
