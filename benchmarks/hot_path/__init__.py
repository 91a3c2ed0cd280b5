"""How fast the sidecar is beside the floor of its own stack: ``python -m benchmarks.hot_path``."""
