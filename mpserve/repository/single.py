"""Scan of one model, for an explicit load."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from mpserve.errors import (
    AlreadyExists,
    ErrorCode,
    Failure,
    InvalidRequest,
    LoadError,
    ModelNotFound,
    MpserveError,
    RepositoryError,
    Unsupported,
)
from mpserve.model.definition import ConfigFormat, ModelDefinition
from mpserve.model.identity import ModelName, model_name
from mpserve.repository.candidates import NOT_UNIQUE, Duplicate, bring_together
from mpserve.repository.found import Candidate, Override, ScannedFolder, ScanOptions, ScanResult
from mpserve.repository.override import discard, materialise
from mpserve.repository.refusal import Refusal, VersionsRefused
from mpserve.repository.scan import candidates_by_name, list_root, scan, scan_folder
from mpserve.repository.snapshot import take_snapshot
from mpserve.repository.triton.definition import read_triton_model

_ERRORS: Final[dict[ErrorCode, type[MpserveError]]] = {
    error.code: error for error in (RepositoryError, InvalidRequest, Unsupported, LoadError)
}
"""The exception that stands for a failure of the scan."""


def scan_model(
    name: str,
    roots: Sequence[str],
    options: ScanOptions,
    override: Override | None = None,
    *,
    previous: ScanResult | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> ModelDefinition:
    """Read one model as it is now.

    Parameters
    ----------
    name
        As the client gave it.
    override
        Parameters of the load call. With `files`, the repositories are not looked at, and the
        definition is `temporary`: the caller removes its directory by `discard`.
    previous
        Result of the last scan, whose unchanged parts need not be read again.
    tell
        Called with each thing that is passed over, or has no effect.

    Raises
    ------
    ModelNotFound
        No repository has the model: `model not found in any model repository.`
    AlreadyExists
        More than one has: `not unique across all model repositories`.
    RepositoryError, InvalidRequest, Unsupported
        The model can not be read, or what is read is invalid. Triton calls these and the two above
        `failed to load '<name>', failed to poll from model repository`; the message is the reason.
    LoadError
        The model is valid but can not be loaded; `VersionsRefused` says which versions of it. The
        message is what follows `load failed for model '<name>': `.
    """
    checked = model_name(name)
    if override is not None and override.files:
        return _from_files(checked, override, options=options, tell=tell)
    folders, unreadable = _folders_called(checked, roots, options=options)
    candidates = candidates_by_name(folders).get(checked, [])
    if not _is_triton(candidates):
        result = scan(roots, previous, options)
        fresh = (
            folder
            for folder in result.folders.values()
            if folder.root not in result.unreadable_roots
        )
        candidates = candidates_by_name(fresh).get(checked, [])
        unreadable = unreadable or next(iter(result.unreadable_roots.values()), None)
    if not candidates:
        raise _missing(unreadable)
    if override is not None and override.config:
        return _with_config(candidates, override.config, options=options, tell=tell)
    definition = _definition_of(candidates)
    for note in (note for candidate in candidates for note in candidate.notes):
        tell(note)
    return definition


def _folders_called(
    name: ModelName, roots: Sequence[str], *, options: ScanOptions
) -> tuple[list[ScannedFolder], Failure | None]:
    """Read the folders of this name in all roots; the failure is of a root that is unreadable."""
    folders: list[ScannedFolder] = []
    unreadable: Failure | None = None
    for root in sorted(set(roots)):
        try:
            path = f"{root.rstrip('/')}/{name}"
            if Path(path).is_dir() or name in list_root(root):
                folders.append(scan_folder(root, path, before=None, options=options))
        except RepositoryError as error:
            unreadable = error.failure()
    return folders, unreadable


def _is_triton(candidates: Sequence[Candidate]) -> bool:
    """Tell whether the folders called like the model are all there is to find.

    MLServer's models may lie anywhere and be called otherwise than their folder.
    """
    return bool(candidates) and all(
        candidate.format is ConfigFormat.TRITON for candidate in candidates
    )


def _missing(unreadable: Failure | None) -> MpserveError:
    if unreadable is not None:
        return RepositoryError(unreadable.message)
    return ModelNotFound("model not found in any model repository.")


def _definition_of(candidates: Sequence[Candidate]) -> ModelDefinition:
    match bring_together(candidates):
        case Duplicate():
            raise AlreadyExists(NOT_UNIQUE)
        case Refusal() as refusal:
            raise VersionsRefused(refusal)
        case Failure() as failure:
            raise _ERRORS[failure.code](failure.message)
        case definition:
            return definition


def _with_config(
    candidates: Sequence[Candidate],
    config: str,
    *,
    options: ScanOptions,
    tell: Callable[[str], None],
) -> ModelDefinition:
    """Read a model of the repositories with another configuration."""
    if len(candidates) > 1:
        raise AlreadyExists(NOT_UNIQUE)
    (candidate,) = candidates
    if candidate.format is not ConfigFormat.TRITON:
        raise Unsupported(
            f"load parameter 'config' of model '{candidate.name}': the model is described by "
            "model-settings.json, which can not be overridden"
        )
    snapshot = take_snapshot(candidate.directory)
    model = read_triton_model(
        snapshot, name=candidate.name, options=options, config_override=config
    )
    for note in model.notes:
        tell(note)
    return model.definition


def _from_files(
    name: ModelName, override: Override, *, options: ScanOptions, tell: Callable[[str], None]
) -> ModelDefinition:
    directory = materialise(override, parent=options.override_directory)
    try:
        snapshot = take_snapshot(directory)
        model = read_triton_model(
            snapshot, name=name, options=options, config_override=override.config
        )
        for note in model.notes:
            tell(note)
        return replace(model.definition, temporary=True)
    except BaseException:
        discard(directory)
        raise
