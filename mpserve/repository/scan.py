"""Scan: disks to wanted state.

Guarantees: an entry that can not be read concerns its own model only, a root that can not be listed
is an error and never "all models removed", what vanishes while it is looked at is not there.
A scan of unchanged repositories does nothing but list directories and read stamps.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from mpserve.errors import Failure, RepositoryError
from mpserve.model.definition import ConfigFormat, ModelDefinition
from mpserve.model.identity import ModelName
from mpserve.repository.candidates import Duplicate, bring_together, make_candidate
from mpserve.repository.fingerprint import snapshot_digest
from mpserve.repository.folders import find_models, find_root_model, root_model
from mpserve.repository.found import (
    Candidate,
    ScannedFolder,
    ScanOptions,
    ScanResult,
)
from mpserve.repository.layout import MODEL_SETTINGS_FILE
from mpserve.repository.mlserver.definition import external_stamps
from mpserve.repository.snapshot import Snapshot, Unreadable, take_snapshot
from mpserve.settings.environment import MODEL_PREFIX

IMPLEMENTATION_VARIABLE = f"{MODEL_PREFIX}IMPLEMENTATION"


def scan(roots: Sequence[str], previous: ScanResult | None, options: ScanOptions) -> ScanResult:
    """Read all repositories.

    Parameters
    ----------
    roots
        Absolute paths; visited in the order of their text, each once.
    previous
        Result of the last scan, or `None`. What has not changed since is taken from it.

    Returns
    -------
    ScanResult
        Wanted state. Models of unreadable roots are as they were in `previous`.
    """
    usable = previous if previous is not None and previous.options == options else None
    before: Mapping[str, ScannedFolder] = {} if usable is None else usable.folders
    folders: dict[str, ScannedFolder] = {}
    unreadable: dict[str, Failure] = {}
    for root in sorted(set(roots)):
        try:
            folders |= _scan_root(root, before=before, options=options)
        except RepositoryError as error:
            unreadable[root] = error.failure()
            folders |= {path: folder for path, folder in before.items() if folder.root == root}
    if not unreadable:
        folders |= _environment_model(roots, folders, before=before, options=options)
    return _result(folders, unreadable, options=options)


def list_root(root: str) -> tuple[str, ...]:
    """Return the names of the sub-directories of a root, sorted, links followed.

    A link that leads nowhere counts: it may be a model that is being exchanged.

    Raises
    ------
    RepositoryError
        With Triton's words, when the root can not be listed.
    """
    try:
        with os.scandir(root) as entries:
            return tuple(sorted(entry.name for entry in entries if _may_be_model(entry)))
    except NotADirectoryError as error:
        raise RepositoryError("repository path is not a valid directory") from error
    except OSError as error:
        raise RepositoryError(f"failed to stat file {root}: {error.strerror}") from error


def scan_folder(
    root: str, path: str, *, before: ScannedFolder | None, options: ScanOptions
) -> ScannedFolder:
    """Read the models in one direct sub-directory of a root."""
    snapshot = _snapshot_of(path)
    if snapshot is None:
        return ScannedFolder(root=root, snapshot=_EMPTY, candidates=())
    if before is not None and _is_unchanged(before, snapshot):
        return before
    found = find_models(snapshot, own_format=options.format, config_name=options.config_name)
    candidates = tuple(
        make_candidate(
            folder, options=options, before=_candidate_of(before, folder.snapshot.directory)
        )
        for folder in found
    )
    hidden = _hidden_candidates(before, candidates, snapshot=snapshot)
    return ScannedFolder(root=root, snapshot=snapshot, candidates=(*candidates, *hidden))


def _scan_root(
    root: str, *, before: Mapping[str, ScannedFolder], options: ScanOptions
) -> dict[str, ScannedFolder]:
    is_mlserver = options.format is ConfigFormat.MLSERVER
    folders: dict[str, ScannedFolder] = {}
    for name in list_root(root):
        if is_mlserver and name.startswith("."):
            continue
        path = f"{root.rstrip('/')}/{name}"
        folder = scan_folder(root, path, before=before.get(path), options=options)
        folders[path] = folder
    if is_mlserver and Path(root, MODEL_SETTINGS_FILE).is_file():
        folders |= _scan_root_itself(root, folders, before=before.get(root), options=options)
    return folders


def _scan_root_itself(
    root: str,
    folders: Mapping[str, ScannedFolder],
    *,
    before: ScannedFolder | None,
    options: ScanOptions,
) -> dict[str, ScannedFolder]:
    """Read the MLServer model that the root is, beside those below it."""
    below = _model_directories(folders)
    for folder in find_root_model(take_snapshot(root), model_folders=below):
        if before is not None and _is_unchanged(before, folder.snapshot):
            return {root: before}
        candidate = make_candidate(
            folder, options=options, before=_candidate_of(before, folder.snapshot.directory)
        )
        return {root: ScannedFolder(root=root, snapshot=folder.snapshot, candidates=(candidate,))}
    return {}


def _environment_model(
    roots: Sequence[str],
    folders: Mapping[str, ScannedFolder],
    *,
    before: Mapping[str, ScannedFolder],
    options: ScanOptions,
) -> dict[str, ScannedFolder]:
    """Read the model that `MLSERVER_MODEL_*` alone describe, when the repositories hold none."""
    if options.format is not ConfigFormat.MLSERVER or _model_directories(folders):
        return {}
    if not roots or not options.environment.get(IMPLEMENTATION_VARIABLE):
        return {}
    root = min(roots)
    folder = root_model(take_snapshot(root), model_folders=frozenset())
    known = before.get(root)
    if known is not None and _is_unchanged(known, folder.snapshot):
        return {root: known}
    candidate = make_candidate(folder, options=options, before=None)
    return {root: ScannedFolder(root=root, snapshot=folder.snapshot, candidates=(candidate,))}


def _may_be_model(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir() or (entry.is_symlink() and not Path(entry.path).exists())
    except OSError:
        return True  # it is there and can not be looked at: its model is broken, not removed


def _snapshot_of(path: str) -> Snapshot | None:
    """Walk a folder of a root; `None` when it has vanished since the root was listed."""
    snapshot = take_snapshot(path)
    if Path(path).exists():
        return snapshot
    if not Path(path).is_symlink():
        return None
    broken = Unreadable(path="", message=f"failed to stat file {path}")
    return Snapshot(directory=path, files=(), directories=(), unreadable=(broken,))


_EMPTY = Snapshot(directory="", files=(), directories=())


def _hidden_candidates(
    before: ScannedFolder | None, candidates: Sequence[Candidate], *, snapshot: Snapshot
) -> tuple[Candidate, ...]:
    """Return, as broken, the models that an unreadable folder hides: they are not gone."""
    if before is None or not snapshot.unreadable:
        return ()
    failure = RepositoryError(snapshot.unreadable[0].message).failure()
    found = {candidate.directory for candidate in candidates}
    return tuple(
        replace(known, token=snapshot_digest(snapshot), outcome=failure)
        for known in before.candidates
        if known.directory not in found
    )


def _is_unchanged(before: ScannedFolder, snapshot: Snapshot) -> bool:
    """Tell whether a folder may be reused. Failures may not: the next read may succeed."""
    return before.snapshot == snapshot and all(
        isinstance(candidate.outcome, ModelDefinition)
        and candidate.external == external_stamps(candidate.directory, uri=candidate.uri)
        for candidate in before.candidates
    )


def _candidate_of(before: ScannedFolder | None, directory: str) -> Candidate | None:
    candidates = () if before is None else before.candidates
    return next((known for known in candidates if known.directory == directory), None)


def _model_directories(folders: Mapping[str, ScannedFolder]) -> frozenset[str]:
    return frozenset(
        candidate.directory for folder in folders.values() for candidate in folder.candidates
    )


def _result(
    folders: dict[str, ScannedFolder],
    unreadable: dict[str, Failure],
    *,
    options: ScanOptions,
) -> ScanResult:
    by_name = candidates_by_name(folders.values())
    definitions: dict[ModelName, ModelDefinition] = {}
    broken: dict[ModelName, Failure] = {}
    duplicates: dict[ModelName, tuple[str, ...]] = {}
    for name, candidates in by_name.items():
        match bring_together(candidates):
            case ModelDefinition() as definition:
                definitions[name] = definition
            case Duplicate(directories=directories):
                duplicates[name] = directories
            case Failure() as failure:
                broken[name] = failure
    return ScanResult(
        options=options,
        definitions=definitions,
        broken=broken,
        duplicates=duplicates,
        names=tuple(sorted(by_name)),
        unreadable_roots=unreadable,
        tokens={
            name: "".join(candidate.token for candidate in candidates)
            for name, candidates in by_name.items()
        },
        notes=tuple(
            dict.fromkeys(
                note
                for candidates in by_name.values()
                for candidate in candidates
                for note in candidate.notes
            )
        ),
        folders=folders,
    )


def candidates_by_name(folders: Iterable[ScannedFolder]) -> dict[ModelName, list[Candidate]]:
    """Return the candidates of each name, in the order of their directories."""
    by_name: dict[ModelName, list[Candidate]] = defaultdict(list)
    for folder in folders:
        for candidate in folder.candidates:
            by_name[candidate.name].append(candidate)
    for candidates in by_name.values():
        candidates.sort(key=lambda candidate: candidate.directory)
    return by_name
