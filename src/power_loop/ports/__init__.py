"""Ports: what the kernel asks of models, tools, stores and hooks. Protocols and plain data, no I/O."""
