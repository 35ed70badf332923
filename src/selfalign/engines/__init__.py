"""What opens models: each file one adapter of `ports.Engine`."""
