"""Calls that need a header with a secret (`--http-restricted-api`).

The check comes before the method and everything else, so that a restricted call tells nothing.
Source: triton.md 1.3.
"""

import hmac
from collections.abc import Iterable, Mapping
from typing import Final

from mpserve.frontend.http.body import HttpRequest
from mpserve.frontend.http.routes import Endpoint
from mpserve.settings import Category, Restriction

CATEGORIES: Final[Mapping[Endpoint, Category]] = {
    Endpoint.LIVE: Category.HEALTH,
    Endpoint.READY: Category.HEALTH,
    Endpoint.MODEL_READY: Category.HEALTH,
    Endpoint.SERVER_METADATA: Category.METADATA,
    Endpoint.MODEL_METADATA: Category.METADATA,
    Endpoint.MODEL_CONFIG: Category.MODEL_CONFIG,
    Endpoint.STATISTICS: Category.STATISTICS,
    Endpoint.INFER: Category.INFERENCE,
    Endpoint.INFER_STREAM: Category.INFERENCE,
    Endpoint.GENERATE: Category.INFERENCE,
    Endpoint.GENERATE_STREAM: Category.INFERENCE,
    Endpoint.HANDLER: Category.INFERENCE,
    Endpoint.INDEX: Category.MODEL_REPOSITORY,
    Endpoint.LOAD: Category.MODEL_REPOSITORY,
    Endpoint.UNLOAD: Category.MODEL_REPOSITORY,
    Endpoint.EVENTS: Category.MODEL_REPOSITORY,
    Endpoint.TRACE: Category.TRACE,
    Endpoint.LOGGING: Category.LOGGING,
    Endpoint.SYSTEM_REGION_STATUS: Category.SHARED_MEMORY,
    Endpoint.SYSTEM_REGION_REGISTER: Category.SHARED_MEMORY,
    Endpoint.SYSTEM_REGION_UNREGISTER: Category.SHARED_MEMORY,
    Endpoint.CUDA_REGION_STATUS: Category.SHARED_MEMORY,
    Endpoint.CUDA_REGION_REGISTER: Category.SHARED_MEMORY,
    Endpoint.CUDA_REGION_UNREGISTER: Category.SHARED_MEMORY,
    Endpoint.DOCUMENT: Category.METADATA,
    Endpoint.DOCUMENT_PAGE: Category.METADATA,
}


class Restrictions:
    """Headers that calls need, by category."""

    def __init__(self, restrictions: Iterable[Restriction] = ()) -> None:
        self._by_category = {one.category: one for one in restrictions}

    def change(self, restrictions: Iterable[Restriction]) -> None:
        """Ask for these keys and values from now on; what is restricted stays the same."""
        self._by_category = {one.category: one for one in restrictions}

    def covers(self, category: Category) -> bool:
        """Return whether calls of this category are restricted."""
        return category in self._by_category

    def missing_header(self, endpoint: Endpoint, http: HttpRequest) -> str | None:
        """Return the name of the header that a request lacks; `None` when it may go on."""
        restriction = self._by_category.get(CATEGORIES[endpoint])
        if restriction is None:
            return None
        sent = http.header(restriction.key.lower().encode()) or ""
        is_right = hmac.compare_digest(
            sent.encode("latin-1"), restriction.value.encode("utf-8", "surrogateescape")
        )
        return None if is_right else restriction.key
