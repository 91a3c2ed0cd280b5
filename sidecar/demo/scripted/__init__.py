"""The parts of the scripted upstream: what it says, how it says it, what goes wrong, what it remembers."""
