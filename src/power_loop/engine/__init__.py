"""The engine: the loop, one run of it, and one file per kind of step."""
