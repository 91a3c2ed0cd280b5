"""Measures the privacy detector on texts that it makes up: recall, over-blocking, speed, start-up, memory."""
