"""The Python client, against running sidecars."""
