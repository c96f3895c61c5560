"""What power-loop costs, measured beside the same work without a kernel. Run with ``python -m benchmarks``."""
