"""Names of models, versions and what grows with each load.

`ModelName` and `Version` are made here only, so that nobody checks again later.
"""

from typing import NewType

import msgspec

from mpserve.errors import InvalidRequest

ModelName = NewType("ModelName", str)
Version = NewType("Version", str)
"""Decimal number for Triton's version directories; any word for MLServer's `parameters.version`;
empty for an MLServer model without one."""

Generation = NewType("Generation", int)
"""Grows with every (re)load of a model version, over the whole server; never reused."""

MAX_NAME_BYTES = 255  # a name is a directory's name


def model_name(text: str) -> ModelName:
    """Return `text` as a model name.

    Raises
    ------
    InvalidRequest
        With the peers' words when the name is empty, too long, or could leave the repository.
    """
    if not text.strip():
        raise InvalidRequest("Model name cannot be empty. Please enter a valid name to deploy.")
    if text in {".", ".."} or "/" in text or "\0" in text:
        raise InvalidRequest(
            f"invalid model name '{text}', model name must not contain path traversal characters"
        )
    if len(text.encode()) > MAX_NAME_BYTES:
        raise InvalidRequest(
            f"invalid model name '{text[:32]}...', at most {MAX_NAME_BYTES} bytes are allowed"
        )
    return ModelName(text)


class VersionKey(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """One version of one model."""

    name: ModelName
    version: Version


class InstanceKey(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """One running copy of one generation of one model version."""

    name: ModelName
    version: Version
    generation: Generation
    index: int

    def log_fields(self) -> dict[str, object]:
        """Return the fields by which the log names it."""
        return {
            "model": self.name,
            "version": self.version,
            "generation": self.generation,
            "instance": self.index,
        }
