"""The documentation, held against what really happens."""
