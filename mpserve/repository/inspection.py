"""Inspection: everything that is wrong, or may surprise, in model repositories at rest.

Reads what a server would read at its start, and beside it what only a load or a request would meet:
model files, label files, custom configurations. Loads no model.
"""

import enum
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from mpserve.errors import Failure, MpserveError
from mpserve.model.definition import ConfigFormat, ModelDefinition, VersionDefinition
from mpserve.model.identity import ModelName
from mpserve.model.triton.config_json import decode_config
from mpserve.repository.candidates import NOT_UNIQUE
from mpserve.repository.found import Candidate, ScanOptions, ScanResult
from mpserve.repository.layout import (
    CONFIG_FILE,
    CUSTOM_CONFIGS,
    MODEL_SETTINGS_FILE,
    WARM_UP_FOLDER,
)
from mpserve.repository.scan import scan
from mpserve.repository.snapshot import Snapshot, take_snapshot
from mpserve.repository.text_place import line_of
from mpserve.repository.triton.definition import config_path, read_triton_model

_CUSTOM_SUFFIX: Final = ".pbtxt"


class Severity(enum.Enum):
    """What a finding means for who serves the repository."""

    ERROR = "error"
    """A model can not be served, or not as its files say."""
    WARNING = "warning"
    """Something is passed over, or means less than it seems to."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong.

    Attributes
    ----------
    model
        Name of the model; "" when it concerns none.
    path
        Absolute path of the file, or of the folder where a file is missing.
    line
        In that file, from 1; `None` when it can not be told.
    """

    severity: Severity
    model: str
    path: str
    line: int | None = None
    message: str


class InspectedModel(msgspec.Struct, frozen=True, kw_only=True):
    """One folder that describes a model.

    Attributes
    ----------
    runtime
        "" when the configuration can not be read.
    versions
        Those that a server would load, ascending.
    instances
        Workers of each version; 0 when there are none (an ensemble) or it can not be read.
    """

    name: str
    directory: str
    format: ConfigFormat
    runtime: str = ""
    versions: tuple[str, ...] = ()
    instances: int = 0


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked at and what was found, both in the order of paths."""

    models: tuple[InspectedModel, ...]
    findings: tuple[Finding, ...]

    def count(self, severity: Severity) -> int:
        """Return how many findings are of `severity`."""
        return sum(finding.severity is severity for finding in self.findings)


VersionCheck = Callable[[ModelDefinition, VersionDefinition], Iterable[Finding]]
"""Says what a runtime would miss in a version; the runtimes lie above this room."""

ConfigCheck = Callable[[ModelDefinition, VersionDefinition], Iterable[str]]
"""Says what a runtime would refuse in the configuration of a version."""


class RuntimeChecks(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of the runtimes."""

    files: VersionCheck
    config: ConfigCheck


def inspect(roots: Sequence[str], options: ScanOptions, *, checks: RuntimeChecks) -> Inspection:
    """Look through all repositories.

    Parameters
    ----------
    roots
        Absolute paths.
    """
    result = scan(roots, None, options)
    candidates = sorted(
        (one for folder in result.folders.values() for one in folder.candidates),
        key=lambda one: one.directory,
    )
    findings = [
        *_root_findings(roots, result, options=options),
        *(found for one in candidates for found in _candidate_findings(one, options, checks)),
        *_duplicate_findings(result),
        *_ensemble_findings(result, options=options),
    ]
    return Inspection(
        models=tuple(_inspected(one) for one in candidates),
        findings=tuple(sorted(dict.fromkeys(findings), key=lambda one: (one.path, one.line or 0))),
    )


def _inspected(candidate: Candidate) -> InspectedModel:
    found = InspectedModel(
        name=candidate.name, directory=candidate.directory, format=candidate.format
    )
    if isinstance(candidate.outcome, Failure):
        return found
    return replace(
        found,
        runtime=candidate.outcome.runtime,
        versions=tuple(one.version for one in candidate.outcome.versions),
        instances=sum(group.count for group in candidate.outcome.config.instance_groups),
    )


# --- repositories --------------------------------------------------------------------------------


def _root_findings(
    roots: Sequence[str], result: ScanResult, *, options: ScanOptions
) -> Iterator[Finding]:
    for root, failure in result.unreadable_roots.items():
        yield Finding(severity=Severity.ERROR, model="", path=root, message=failure.message)
    for path, folder in result.folders.items():
        if not folder.candidates and folder.snapshot.directory:
            yield Finding(
                severity=Severity.WARNING,
                model="",
                path=path,
                message=f"no {MODEL_SETTINGS_FILE} lies in this folder: it is passed over",
            )
    if options.format is ConfigFormat.TRITON:
        for root in sorted(set(roots) - result.unreadable_roots.keys()):
            yield from _stray_files(root)


def _stray_files(root: str) -> Iterator[Finding]:
    """A configuration or model beside the model folders is a folder forgotten."""
    for name in (CONFIG_FILE, MODEL_SETTINGS_FILE):
        if Path(root, name).is_file():
            yield Finding(
                severity=Severity.WARNING,
                model="",
                path=f"{root.rstrip('/')}/{name}",
                message="it lies in the repository itself, not in a model's folder: "
                "it is passed over",
            )


def _duplicate_findings(result: ScanResult) -> Iterator[Finding]:
    for name, directories in result.duplicates.items():
        for directory in directories:
            others = ", ".join(other for other in directories if other != directory)
            yield Finding(
                severity=Severity.ERROR,
                model=name,
                path=directory,
                message=f"model '{name}' is {NOT_UNIQUE}: it lies also in {others}",
            )


def _ensemble_findings(result: ScanResult, *, options: ScanOptions) -> Iterator[Finding]:
    """An ensemble needs its models. Whether they fit together shows when they are loaded."""
    for candidate in (one for folder in result.folders.values() for one in folder.candidates):
        definition = candidate.outcome
        if isinstance(definition, Failure) or definition.config.ensemble is None:
            continue
        source = _Source.of(candidate, take_snapshot(candidate.directory), options=options)
        for step in definition.config.ensemble.steps:
            member = result.definitions.get(step.model)
            if member is None:
                reason = f"'{step.model}', a model of this ensemble, is not available or ambiguous"
                yield source.finding(Severity.ERROR, candidate.name, reason)
            elif step.version and all(one.version != step.version for one in member.versions):
                reason = (
                    f"'{step.model}', a model of this ensemble, would not serve the required "
                    f"version {step.version}"
                )
                yield source.finding(Severity.ERROR, candidate.name, reason)


# --- models --------------------------------------------------------------------------------------


def _candidate_findings(
    candidate: Candidate, options: ScanOptions, checks: RuntimeChecks
) -> Iterator[Finding]:
    snapshot = take_snapshot(candidate.directory)
    source = _Source.of(candidate, snapshot, options=options)
    if isinstance(candidate.outcome, Failure):
        yield source.finding(Severity.ERROR, candidate.name, candidate.outcome.message)
    for note in candidate.notes:
        yield source.finding(Severity.WARNING, candidate.name, note)
    yield from _overridden_files(candidate, snapshot)
    if candidate.format is ConfigFormat.TRITON:
        yield from _custom_config_findings(candidate.name, snapshot, source, options=options)
    if isinstance(candidate.outcome, ModelDefinition):
        yield from _label_findings(candidate.outcome, snapshot, source)
        yield from _warm_up_findings(candidate.outcome, snapshot, source)
        for version in candidate.outcome.versions:
            yield from checks.files(candidate.outcome, version)
            for message in checks.config(candidate.outcome, version):
                yield source.finding(Severity.ERROR, candidate.name, message)


class _Source(msgspec.Struct, frozen=True, kw_only=True):
    """The file that describes a model: what messages about it quote is found in its text."""

    path: str
    text: str

    @classmethod
    def of(cls, candidate: Candidate, snapshot: Snapshot, *, options: ScanOptions) -> "_Source":
        """Return the file that holds for a model, or its folder when there is none."""
        if candidate.format is ConfigFormat.TRITON:
            name = config_path(snapshot, config_name=options.config_name)
        else:
            name = MODEL_SETTINGS_FILE
        return cls.read(f"{candidate.directory}/{name}", otherwise=candidate.directory)

    @classmethod
    def read(cls, path: str, *, otherwise: str) -> "_Source":
        try:
            return cls(path=path, text=Path(path).read_text("utf-8", errors="replace"))
        except OSError:
            return cls(path=otherwise, text="")

    def finding(self, severity: Severity, model: ModelName, message: str) -> Finding:
        return Finding(
            severity=severity,
            model=model,
            path=self.path,
            line=line_of(message, text=self.text),
            message=message,
        )


def _overridden_files(candidate: Candidate, snapshot: Snapshot) -> Iterator[Finding]:
    """Both formats in one folder: the dialect's own wins, silently so far."""
    winner, loser = CONFIG_FILE, MODEL_SETTINGS_FILE
    if candidate.format is ConfigFormat.MLSERVER:
        winner, loser = loser, winner
    if snapshot.has_file(winner) and snapshot.has_file(loser):
        yield Finding(
            severity=Severity.WARNING,
            model=candidate.name,
            path=f"{candidate.directory}/{loser}",
            message=f"{winner} in the same folder is used instead: this file is passed over",
        )


def _custom_config_findings(
    name: ModelName, snapshot: Snapshot, source: _Source, *, options: ScanOptions
) -> Iterator[Finding]:
    """Read each `configs/<name>.pbtxt` as `--model-config-name` would."""
    for stamp in snapshot.files:
        folder, _, file_name = stamp.path.rpartition("/")
        path = f"{snapshot.directory}/{stamp.path}"
        if folder != CUSTOM_CONFIGS or not file_name.endswith(_CUSTOM_SUFFIX):
            continue
        if path == source.path:
            continue
        custom = replace(options, config_name=file_name.removesuffix(_CUSTOM_SUFFIX))
        try:
            read_triton_model(snapshot, name=name, options=custom)
        except MpserveError as error:
            yield _Source.read(path, otherwise=path).finding(Severity.ERROR, name, error.message)


def _label_findings(
    definition: ModelDefinition, snapshot: Snapshot, source: _Source
) -> Iterator[Finding]:
    for output, file_name in definition.config.label_files.items():
        if not snapshot.has_file(file_name):
            message = (
                f"label file '{file_name}' of output '{output}' is not in the model's folder: "
                "its classes have no labels"
            )
            yield source.finding(Severity.ERROR, definition.name, message)


def _warm_up_findings(
    definition: ModelDefinition, snapshot: Snapshot, source: _Source
) -> Iterator[Finding]:
    samples = decode_config(definition.config_json).model_warmup if definition.config_json else ()
    for wanted in (one for sample in samples for one in sample.inputs.values()):
        file_name = wanted.input_data_file
        if file_name is not UNSET and not snapshot.has_file(f"{WARM_UP_FOLDER}/{file_name}"):
            message = f"warmup data file '{file_name}' is not in the folder '{WARM_UP_FOLDER}'"
            yield source.finding(Severity.ERROR, definition.name, message)
