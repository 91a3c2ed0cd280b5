"""Names the answers of the framework's handlers as the data plane names its own."""

from __future__ import annotations

import time
from typing import Any

from litestar import Response

from sidecar.endpoints.request_id import HEADER, new_request_id


def with_request_id(response: Response[Any]) -> Response[Any]:
    """Litestar's ``after_request`` for what apps ask outside the data plane; errors have theirs already."""
    response.headers.setdefault(HEADER, new_request_id(time.time_ns()))
    return response
