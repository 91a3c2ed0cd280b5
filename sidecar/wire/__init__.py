"""Bytes and dialects: pure decoders, encoders and editors of what goes over the wire."""
