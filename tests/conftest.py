"""Makes the test hosts available to every test."""

#: A module that another one imports stands before it: pytest must be the first to import it.
pytest_plugins = (
    "tests.rig.real_model",
    "tests.rig.upstream",
    "tests.rig.world",
    "tests.rig.serving",
    "tests.rig.otlp",
    "tests.rig.promtool",
)
