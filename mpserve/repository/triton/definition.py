"""A folder with Triton's files to a model definition.

Reads the configuration file; all else is decided on the snapshot.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from mpserve.errors import InvalidRequest, LoadError, MpserveError, RepositoryError
from mpserve.model.definition import ConfigFormat, ModelDefinition, VersionDefinition
from mpserve.model.identity import ModelName, Version
from mpserve.model.rate_limit import check_resources
from mpserve.model.triton.config import TritonConfig, VersionPolicy
from mpserve.model.triton.config_json import encode_config
from mpserve.model.triton.normalization import (
    ENSEMBLE,
    fill_backend,
    normalize,
    normalize_instance_groups,
)
from mpserve.model.triton.summary import summarize
from mpserve.model.triton.validation import (
    refuse_unserved,
    validate,
    validate_file_names,
    validate_instance_groups,
    validate_tensors,
)
from mpserve.repository.fingerprint import snapshot_digest, version_fingerprint
from mpserve.repository.found import ScanOptions
from mpserve.repository.layout import CONFIG_FILE, CUSTOM_CONFIGS, version_names
from mpserve.repository.refusal import Refusal, VersionsRefused
from mpserve.repository.snapshot import FileStamp, Snapshot
from mpserve.repository.triton.pbtxt import parse_json_config, parse_text_config
from mpserve.repository.version_policy import choose_versions

IGNORED_FIELDS: Final[dict[str, Callable[[TritonConfig], bool]]] = {
    "batch_input": lambda config: bool(config.batch_input) and config.backend == "python",
    "batch_output": lambda config: bool(config.batch_output) and config.backend == "python",
    "runtime": lambda config: bool(config.runtime),
    "response_cache": lambda config: (
        config.response_cache is not UNSET and config.response_cache.enable
    ),
}
"""Fields that are accepted and have no effect, and when a configuration uses them; noted then."""


class TritonModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model definition and the warnings on the way to it."""

    definition: ModelDefinition
    notes: tuple[str, ...]


def read_triton_model(
    snapshot: Snapshot, *, name: ModelName, options: ScanOptions, config_override: str = ""
) -> TritonModel:
    """Make the definition of the model in a folder.

    Parameters
    ----------
    snapshot
        Of the model directory.
    config_override
        JSON text in place of the configuration file; "" for none.

    Raises
    ------
    RepositoryError, InvalidRequest, Unsupported
        What Triton finds while it polls: unreadable or invalid configuration.
    LoadError
        What Triton finds while it loads: no version, or as `VersionsRefused` instance groups that
        can not be. The message is what follows `load failed for model '<name>': `.
    """
    if snapshot.unreadable:
        raise RepositoryError(snapshot.unreadable[0].message)
    found = version_names(snapshot.child_directories())
    config = _read_config(snapshot, options=options, override=config_override)
    config = replace(config, name=config.name or name)
    config = normalize(fill_backend(config, version_entries=_first_version_entries(snapshot)))
    config = normalize_instance_groups(config, gpus=options.gpus)
    _check(config, name=name, options=options)
    policy = config.version_policy
    choice = choose_versions(VersionPolicy() if policy is UNSET else policy, found.versions)
    _check_load(config, versions=choice.versions, options=options)
    definition = ModelDefinition(
        name=name,
        directory=snapshot.directory,
        format=ConfigFormat.TRITON,
        runtime=config.backend,
        config=summarize(config),
        config_json=encode_config(config),
        auto_complete=options.auto_complete and config.platform != ENSEMBLE,
        versions=_version_definitions(snapshot, config, choice.versions),
        snapshot_digest=snapshot_digest(snapshot),
    )
    missing = tuple(
        f"version {version} is specified for model '{name}', but the version directory is not "
        "present"
        for version in choice.missing
    )
    return TritonModel(
        definition=definition,
        notes=(*found.notes, *missing, *_ignored(config), *_skipped_samples(config)),
    )


def _read_config(snapshot: Snapshot, *, options: ScanOptions, override: str) -> TritonConfig:
    if override:
        return parse_json_config(override)
    path = config_path(snapshot, config_name=options.config_name)
    if not snapshot.has_file(path) and options.auto_complete:
        return TritonConfig()
    full_path = f"{snapshot.directory}/{path}"
    try:
        text = Path(full_path).read_text("utf-8")
    except UnicodeDecodeError as error:
        raise RepositoryError(f"failed to read text proto from {full_path}: not UTF-8") from error
    except OSError as error:
        raise RepositoryError(
            f"failed to open text file for read {full_path}: {error.strerror}"
        ) from error
    return parse_text_config(text, path=full_path)


def config_path(snapshot: Snapshot, *, config_name: str) -> str:
    """Return the relative path of the configuration file that holds for a model."""
    custom = f"{CUSTOM_CONFIGS}/{config_name}.pbtxt"
    return custom if config_name and snapshot.has_file(custom) else CONFIG_FILE


def _first_version_entries(snapshot: Snapshot) -> frozenset[str]:
    """Return what the first version directory holds.

    Triton looks into the first sub-directory of any name; one that is no version says nothing about
    the model.
    """
    versions = version_names(snapshot.child_directories()).versions
    if not versions:
        return frozenset()
    start = f"{min(str(version) for version in versions)}/"
    paths = [*snapshot.directories, *(stamp.path for stamp in snapshot.files)]
    return frozenset(
        path[len(start) :].partition("/")[0] for path in paths if path.startswith(start)
    )


def _check(config: TritonConfig, *, name: ModelName, options: ScanOptions) -> None:
    validate(config)
    if not options.auto_complete or config.platform == ENSEMBLE:
        validate_tensors(config)
    validate_file_names(config)
    if config.name != name:
        raise InvalidRequest(
            f"unexpected directory name '{name}' for model '{config.name}', directory name must "
            "equal model name"
        )
    refuse_unserved(config)


def _check_load(config: TritonConfig, *, versions: tuple[int, ...], options: ScanOptions) -> None:
    if not versions:
        raise LoadError(
            "at least one version must be available under the version policy of model "
            f"'{config.name}'"
        )
    try:
        validate_instance_groups(config, gpus=options.gpus)
        if options.rate_limits is not None:
            groups = summarize(config).instance_groups
            check_resources(groups, options.rate_limits, model_name=config.name)
    except MpserveError as error:
        told = (
            f"version {version} is at UNAVAILABLE state: Invalid argument: {error};"
            for version in versions
        )
        refusal = Refusal(
            code=LoadError.code,
            message="".join(told),
            versions=tuple(Version(str(version)) for version in versions),
            reason=InvalidRequest(error.message).failure(),
        )
        raise VersionsRefused(refusal) from error


def _version_definitions(
    snapshot: Snapshot, config: TritonConfig, versions: tuple[int, ...]
) -> tuple[VersionDefinition, ...]:
    shared = tuple(stamp for stamp in snapshot.files if _is_shared(stamp))
    meaning = encode_config(replace(config, instance_group=(), version_policy=UNSET))
    return tuple(
        VersionDefinition(
            version=Version(str(version)),
            directory=f"{snapshot.directory}/{version}",
            fingerprint=version_fingerprint(
                directory=snapshot.directory,
                files=(*shared, *_files_of(snapshot, version)),
                configuration=meaning,
            ),
        )
        for version in versions
    )


def _is_shared(stamp: FileStamp) -> bool:
    """Tell whether all versions share a file: not one of a version's, not a configuration."""
    child = stamp.path.partition("/")[0]
    return not child.isdecimal() and child not in {CONFIG_FILE, CUSTOM_CONFIGS}


def _files_of(snapshot: Snapshot, version: int) -> tuple[FileStamp, ...]:
    start = f"{version}/"
    return tuple(stamp for stamp in snapshot.files if stamp.path.startswith(start))


def _ignored(config: TritonConfig) -> tuple[str, ...]:
    return tuple(
        f"'{field}' of model '{config.name}' has no effect in this server"
        for field, is_used in IGNORED_FIELDS.items()
        if is_used(config)
    )


def _skipped_samples(config: TritonConfig) -> tuple[str, ...]:
    """Samples without a batch size: Triton skips them, too, and the model is not warm after it."""
    return tuple(
        f"warm-up sample '{sample.name}' of model '{config.name}' is skipped: its batch_size is 0;"
        " 1 is that of a model without batches"
        for sample in config.model_warmup
        if sample.batch_size == 0
    )
