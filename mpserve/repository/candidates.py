"""Folders to candidates, and candidates of equal names to models."""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from mpserve.errors import Failure, MpserveError
from mpserve.model.definition import (
    ConfigFormat,
    ModelDefinition,
    OwnSettings,
    VersionDefinition,
)
from mpserve.model.identity import ModelName
from mpserve.repository.fingerprint import snapshot_digest
from mpserve.repository.folders import ModelFolder
from mpserve.repository.found import Candidate, ScanOptions
from mpserve.repository.mlserver.definition import read_mlserver_model
from mpserve.repository.triton.definition import read_triton_model

NOT_UNIQUE: Final = "not unique across all model repositories"
"""Triton's words for one name in two places."""


class Duplicate(msgspec.Struct, frozen=True, kw_only=True):
    """A name that is in more than one place."""

    directories: tuple[str, ...]


Found = ModelDefinition | Failure | Duplicate


def make_candidate(
    folder: ModelFolder, *, options: ScanOptions, before: Candidate | None
) -> Candidate:
    """Read the model in a folder; what is wrong with it becomes the candidate's outcome.

    Parameters
    ----------
    before
        The candidate of this folder in the previous scan: the name of a model whose settings have
        become unreadable.
    """
    snapshot = folder.snapshot
    base = ModelName(snapshot.directory.rpartition("/")[2])
    token = snapshot_digest(snapshot)
    try:
        if folder.format is ConfigFormat.TRITON:
            triton = read_triton_model(snapshot, name=base, options=options)
            return Candidate(
                name=base,
                format=folder.format,
                directory=snapshot.directory,
                token=token,
                outcome=triton.definition,
                notes=triton.notes,
            )
        found = read_mlserver_model(snapshot, options=options)
    except MpserveError as error:
        return Candidate(
            name=base if before is None else before.name,
            format=folder.format,
            directory=snapshot.directory,
            token=token,
            outcome=error.failure(),
            name_is_guess=folder.format is ConfigFormat.MLSERVER
            and (before is None or before.name_is_guess),
        )
    return Candidate(
        name=found.definition.name,
        format=folder.format,
        directory=snapshot.directory,
        token=f"{token}{found.definition.versions[0].fingerprint}",  # with files from elsewhere
        outcome=found.definition,
        notes=found.notes,
        uri=found.uri,
        external=found.external,
    )


def bring_together(candidates: Sequence[Candidate]) -> Found:
    """Decide what all candidates of one name are together.

    MLServer's format has one folder for each version; a version that can not be read breaks the
    model, so that what is served goes on. Everything else with an equal name is a duplicate.
    """
    known = [candidate for candidate in candidates if not candidate.name_is_guess] or candidates
    if len(known) == 1:
        return known[0].outcome
    if any(candidate.format is not ConfigFormat.MLSERVER for candidate in known):
        return _duplicate(known)
    definitions: list[ModelDefinition] = []
    for candidate in known:
        if isinstance(candidate.outcome, Failure):
            return candidate.outcome
        definitions.append(candidate.outcome)
    if len({definition.versions[0].version for definition in definitions}) < len(definitions):
        return _duplicate(known)
    return _with_all_versions(definitions)


def _duplicate(candidates: Iterable[Candidate]) -> Duplicate:
    return Duplicate(directories=tuple(sorted(candidate.directory for candidate in candidates)))


def _with_all_versions(definitions: Iterable[ModelDefinition]) -> ModelDefinition:
    ascending = sorted(definitions, key=_version_order)
    return replace(
        ascending[-1],
        versions=tuple(_own_version(definition) for definition in ascending),
        snapshot_digest="".join(definition.snapshot_digest for definition in ascending),
    )


def _own_version(definition: ModelDefinition) -> VersionDefinition:
    return replace(
        definition.versions[0],
        own=OwnSettings(
            runtime=definition.runtime,
            config=definition.config,
            settings_json=definition.settings_json,
        ),
    )


class _VersionOrder(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """Numbers first, by value; then words; a model without a version is MLServer's default."""

    is_unnamed: bool
    is_word: bool
    number: int
    word: str


def _version_order(definition: ModelDefinition) -> _VersionOrder:
    version = definition.versions[0].version
    is_number = version.isdecimal()
    return _VersionOrder(
        is_unnamed=not version,
        is_word=not is_number,
        number=int(version) if is_number else 0,
        word=version,
    )
