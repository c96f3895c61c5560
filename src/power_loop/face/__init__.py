"""The face: what a host calls. Turns names into adapters and verbs into runs."""
