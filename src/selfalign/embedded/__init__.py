"""Data and a tiny model that ship with the package."""
