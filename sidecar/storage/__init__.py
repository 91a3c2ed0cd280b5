"""What the sidecar remembers: everything durable, over SQLite; the only package that imports ``aiosqlite``.

``database``          the one file, its migrations, its writer and its readers
``decision_log``      takes decision records off the hot path and writes them in batches
``decision_search``   reads them back: one, a page, what is new, a replay
``rollups``           the sums and histograms kept beside them, from which ``reports`` draws charts
``retention``         forgets what is too old or too much, in small steps
``rollout_store``     where the rollout stands, its salt and its history
``arm_comparison``    both arms side by side, from the roll-ups
``audit_log``         who changed what; ``feedback``: ratings

Times are Unix nanoseconds, durations milliseconds, money integer nano-dollars.
"""
