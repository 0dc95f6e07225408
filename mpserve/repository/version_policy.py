"""Which versions of a model are served. Pure. Source: Triton's `version_policy`."""

from collections.abc import Iterable

import msgspec
from msgspec import UNSET

from mpserve.model.triton.config import VersionPolicy


class VersionChoice(msgspec.Struct, frozen=True, kw_only=True):
    """Versions to serve, ascending, and those asked for by number that are not there."""

    versions: tuple[int, ...]
    missing: tuple[int, ...] = ()


def choose_versions(policy: VersionPolicy, present: Iterable[int]) -> VersionChoice:
    """Apply a policy to the versions that are present.

    `latest` takes the highest `num_versions` (0 counts as 1), `specific` those of its list that are
    present, `all` every one. A policy with nothing set is the latest one.
    """
    ascending = sorted(set(present))
    if policy.all is not UNSET:
        return VersionChoice(versions=tuple(ascending))
    if policy.specific is not UNSET:
        wanted = set(policy.specific.versions)
        return VersionChoice(
            versions=tuple(version for version in ascending if version in wanted),
            missing=tuple(sorted(wanted.difference(ascending))),
        )
    count = 1 if policy.latest is UNSET else max(policy.latest.num_versions, 1)
    return VersionChoice(versions=tuple(ascending[-count:]))
