"""The pure heart: what is decided, and nothing that touches the world."""
