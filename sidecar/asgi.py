"""Names the shapes of ASGI for the modules that a worker process needs: it is spared the framework itself.

Import it under ``TYPE_CHECKING``; when the program runs there is nothing in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from litestar.types import ASGIApp as ASGIApp
    from litestar.types import HTTPScope as HTTPScope
    from litestar.types import Receive as Receive
    from litestar.types import Scope as Scope
    from litestar.types import Send as Send
