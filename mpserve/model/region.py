"""Shared memory that a client registered, and pieces of it that a request names.

Source: Triton's system shared memory extension.
"""

from typing import NewType

import msgspec

RegionId = NewType("RegionId", int)
"""Grows with each registration, never used twice while the server lives; at least 1."""


class ClientRegion(msgspec.Struct, frozen=True, kw_only=True):
    """One registration.

    Attributes
    ----------
    name
        The client's word for it.
    key
        Name of the memory as `shm_open` takes it.
    offset, byte_size
        Bytes of the memory that belong to it.
    """

    id: RegionId
    name: str
    key: str
    offset: int
    byte_size: int


class RegionUse(msgspec.Struct, frozen=True, kw_only=True):
    """Where in a region a client has a tensor, or wants one; not checked yet."""

    name: str
    offset: int
    byte_size: int


class RegionPiece(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Bytes of a registered region; `offset` is that in the memory itself."""

    id: RegionId
    offset: int
    byte_size: int
