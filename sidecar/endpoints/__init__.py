"""The HTTP surface: one module per dialect, one for operators, one for health."""
