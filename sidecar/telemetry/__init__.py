"""Traces, metrics and call lines, all made from decision records, off the hot path.

``intake`` takes the records over; ``tracing`` and ``spans`` make spans of them, ``metrics`` counts them,
``call_log`` writes a line for each. ``exporter`` sends what is to go to a collector, in the encoding of
``protobuf``. ``names`` pins what everything is called.
"""
