"""Data from outside: references pinned, files opened, rows recognised."""
