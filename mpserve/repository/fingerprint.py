"""Digests that say whether a version must be loaded anew. Pure."""

import hashlib
from collections.abc import Iterable

import msgspec

from mpserve.repository.snapshot import FileStamp, Snapshot

_encoder = msgspec.msgpack.Encoder()


def snapshot_digest(snapshot: Snapshot) -> str:
    """Digest of all that a snapshot saw; changes with any file, the configuration's among them."""
    return _digest(snapshot)


def version_fingerprint(*, directory: str, files: Iterable[FileStamp], configuration: str) -> str:
    """Digest of one version.

    Parameters
    ----------
    directory
        Where the model lies: moved elsewhere it is loaded anew, because a loaded model may still
        read from there.
    files
        Stamps of the version's own files and of those that all versions share; not of the
        configuration, which counts by its meaning.
    configuration
        Text of the parsed configuration, without what does not need a reload.
    """
    return _digest((directory, tuple(files), configuration))


def _digest(value: object) -> str:
    return hashlib.blake2b(_encoder.encode(value), digest_size=16).hexdigest()
