"""Methods that need a secret in the metadata (`--grpc-restricted-protocol`).

Source: triton.md 1.3 and 4.2.
"""

import hmac
from collections.abc import Iterable, Mapping
from typing import Final

from mpserve.dialect import GrpcCode
from mpserve.frontend.grpc.call import GrpcFailure, Metadata
from mpserve.settings import Category, Restriction

KEY_PREFIX: Final = "triton-grpc-protocol-"
CATEGORIES: Final[Mapping[str, Category]] = {
    "Check": Category.HEALTH,
    "Watch": Category.HEALTH,
    "ServerLive": Category.HEALTH,
    "ServerReady": Category.HEALTH,
    "ModelReady": Category.HEALTH,
    "ServerMetadata": Category.METADATA,
    "ModelMetadata": Category.METADATA,
    "ModelConfig": Category.MODEL_CONFIG,
    "ModelInfer": Category.INFERENCE,
    "ModelStreamInfer": Category.INFERENCE,
    "ModelStatistics": Category.STATISTICS,
    "RepositoryIndex": Category.MODEL_REPOSITORY,
    "RepositoryModelLoad": Category.MODEL_REPOSITORY,
    "RepositoryModelUnload": Category.MODEL_REPOSITORY,
    "SystemSharedMemoryStatus": Category.SHARED_MEMORY,
    "SystemSharedMemoryRegister": Category.SHARED_MEMORY,
    "SystemSharedMemoryUnregister": Category.SHARED_MEMORY,
    "CudaSharedMemoryStatus": Category.SHARED_MEMORY,
    "CudaSharedMemoryRegister": Category.SHARED_MEMORY,
    "CudaSharedMemoryUnregister": Category.SHARED_MEMORY,
    "TraceSetting": Category.TRACE,
    "LogSettings": Category.LOGGING,
    "ServerReflectionInfo": Category.METADATA,
}
"""By the last part of a method's path; the services of both dialects name them alike."""


class MethodRestrictions:
    """What calls need, by category."""

    def __init__(self, restrictions: Iterable[Restriction] = ()) -> None:
        self._by_category = {one.category: one for one in restrictions}

    def change(self, restrictions: Iterable[Restriction]) -> None:
        """Ask for these keys and values from now on; what is restricted stays the same."""
        self._by_category = {one.category: one for one in restrictions}

    def __bool__(self) -> bool:
        """Tell whether anything is restricted."""
        return bool(self._by_category)

    def covers(self, path: str) -> bool:
        """Tell whether calls of a path need anything."""
        return CATEGORIES.get(path.rpartition("/")[2]) in self._by_category

    def refusal(self, path: str, metadata: Metadata) -> GrpcFailure | None:
        """Return how a call is refused; `None` when it may go on."""
        category = CATEGORIES.get(path.rpartition("/")[2])
        restriction = self._by_category.get(category) if category is not None else None
        if restriction is None:
            return None
        name = KEY_PREFIX + restriction.key
        sent = metadata.get(name.lower(), "")
        if hmac.compare_digest(
            sent.encode("utf-8", "surrogateescape"),
            restriction.value.encode("utf-8", "surrogateescape"),
        ):
            return None
        return GrpcFailure(
            code=GrpcCode.UNAVAILABLE,
            message=f"This protocol is restricted, expecting header '{name}'",
        )
