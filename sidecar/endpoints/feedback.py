"""``POST /v1/feedback``: the app rates an answer, so that the arms can be compared by more than speed."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import post
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.params import JSONBody

from sidecar.endpoints.guard import same_site_only
from sidecar.endpoints.named_answers import with_request_id
from sidecar.services import Services

COMMENT_CHARS_MAX = 2_000


class Rating(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``score`` from 0 (useless) to 1 (perfect) for the call whose ``x-sidecar-request-id`` this is."""

    request_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    score: Annotated[float, msgspec.Meta(ge=0, le=1)]
    comment: Annotated[str, msgspec.Meta(max_length=COMMENT_CHARS_MAX)] = ""


@post(
    "/v1/feedback",
    guards=[same_site_only],
    after_request=with_request_id,
    status_code=200,
    tags=["app"],
    summary="Rate an answer; the latest rating counts",
)
async def rate(data: JSONBody[Rating], services: NamedDependency[Services]) -> Rating:
    """404 when there is no such call, or it has been forgotten by retention."""
    if not await services.rate(data.request_id, data.score, data.comment):
        raise NotFoundException(f"there is no call {data.request_id!r} to rate")
    return data
