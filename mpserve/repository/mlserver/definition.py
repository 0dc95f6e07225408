"""A folder with `model-settings.json` to a model definition."""

from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from mpserve.errors import InvalidRequest, RepositoryError
from mpserve.model.config import (
    MAX_INSTANCES,
    SHARE_WEIGHTS_PARAMETER,
    BatchingPolicy,
    InstanceGroup,
    ModelConfig,
)
from mpserve.model.definition import ConfigFormat, ModelDefinition, VersionDefinition
from mpserve.model.execution_limit import execution_limit
from mpserve.model.identity import Version, model_name
from mpserve.model.memory_limit import memory_limit
from mpserve.model.signature import Signature, TensorSpec
from mpserve.model.tensor import Datatype
from mpserve.repository.fingerprint import snapshot_digest, version_fingerprint
from mpserve.repository.found import ScanOptions
from mpserve.repository.layout import MODEL_SETTINGS_FILE, SERVER_SETTINGS_FILE
from mpserve.repository.mlserver.model_settings import (
    MetadataTensor,
    ModelParameters,
    ModelSettings,
    ReadSettings,
    parse_model_settings,
)
from mpserve.repository.snapshot import FileStamp, Snapshot, stamp_file, take_snapshot

RUNTIMES: Final = {
    "mlserver_sklearn.SKLearnModel": "sklearn",
    "mlserver_sklearn.sklearn.SKLearnModel": "sklearn",
    "mlserver_xgboost.XGBoostModel": "xgboost",
    "mlserver_xgboost.xgboost.XGBoostModel": "xgboost",
    "mlserver_lightgbm.LightGBMModel": "lightgbm",
    "mlserver_lightgbm.lightgbm.LightGBMModel": "lightgbm",
}
"""`implementation` -> our own runtime. Any other is a class that the runtime `mlserver` imports, or
the name of a runtime, which is one word."""

DEFAULT_RUNTIME: Final = "mlserver"
EXECUTION_LIMIT_EXTRA: Final = "mpserve_max_execution_seconds"
"""Member of `parameters.extra`: a worker that holds a request for longer is replaced."""
MEMORY_LIMIT_EXTRA: Final = "mpserve_memory_limit_mib"
"""Member of `parameters.extra`: private memory that a worker may have."""
ALLOCATOR_EXTRA: Final = "mpserve_allocator"
"""Member of `parameters.extra` that names the memory allocator of the workers."""
SHARE_WEIGHTS_EXTRA: Final = "mpserve_share_weights"
"""Member of `parameters.extra`: the model is loaded once for all its instances."""

US_PER_S: Final = 1_000_000


class MLServerModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model definition with one version, the warnings on the way, and files from elsewhere."""

    definition: ModelDefinition
    notes: tuple[str, ...]
    uri: str
    external: tuple[FileStamp, ...]


def read_mlserver_model(snapshot: Snapshot, *, options: ScanOptions) -> MLServerModel:
    """Make the definition of the model whose `model-settings.json` lies in a folder.

    Without that file, the environment alone describes the model.

    Raises
    ------
    RepositoryError, InvalidRequest
        Unreadable or invalid settings, or a name that can not be one.
    """
    if snapshot.unreadable:
        raise RepositoryError(snapshot.unreadable[0].message)
    path = Path(snapshot.directory, MODEL_SETTINGS_FILE)
    text = _read(path) if snapshot.has_file(MODEL_SETTINGS_FILE) else b"{}"
    read = parse_model_settings(
        text, path=str(path), environment=options.environment, folder_name=path.parent.name
    )
    uri = _uri(read.settings)
    external = external_stamps(snapshot.directory, uri=uri)
    return MLServerModel(
        definition=_definition(
            snapshot, read, external, config=configuration_of(read.settings, options=options)
        ),
        notes=(
            *_notes(read.settings, folder_name=path.parent.name),
            *(f"'{name}' is no field of {path}: it is passed over" for name in read.unknown),
        ),
        uri=uri,
        external=external,
    )


def external_stamps(directory: str, *, uri: str) -> tuple[FileStamp, ...]:
    """Stamps of the model's files when `parameters.uri` leads out of its folder.

    Nothing for a uri that lies in the folder, is not there, or is no local path.
    """
    parts = urlsplit(uri, scheme="file")
    if not uri or parts.scheme != "file":
        return ()
    target = Path(directory, parts.path)
    if target.is_relative_to(directory) and ".." not in target.parts:
        return ()
    stamp = stamp_file(str(target), name=str(target))
    if stamp is not None:
        return (stamp,)
    return take_snapshot(str(target)).files if target.is_dir() else ()


def configuration_of(settings: ModelSettings, *, options: ScanOptions) -> ModelConfig:
    """Return what the server itself reads of a model's settings."""
    workers = settings.parallel_workers
    if workers is None:
        workers = options.parallel_workers
    if workers > MAX_INSTANCES:
        raise InvalidRequest(
            f"'parallel_workers' of model '{settings.name}' is {workers}, at most {MAX_INSTANCES} "
            "are supported"
        )
    return ModelConfig(
        platform=settings.platform,
        signature=Signature(
            inputs=tuple(_spec(tensor) for tensor in settings.inputs),
            outputs=tuple(_spec(tensor) for tensor in settings.outputs),
            max_batch_size=0,
            open_inputs=not settings.inputs,
            open_outputs=True,
        ),
        # 0 is MLServer's "in the server's process": that is one copy, here in a worker.
        instance_groups=(InstanceGroup(name=settings.name, count=max(workers, 1)),),
        batching=_batching(settings),
        environment=_environment(settings.parameters),
        allocator=_allocator(settings.parameters),
        max_execution_seconds=execution_limit(
            _extra(settings.parameters, EXECUTION_LIMIT_EXTRA, 0),
            where=f"'parameters.extra.{EXECUTION_LIMIT_EXTRA}' of model '{settings.name}'",
        ),
        memory_limit_mib=memory_limit(
            _extra(settings.parameters, MEMORY_LIMIT_EXTRA, 0),
            where=f"'parameters.extra.{MEMORY_LIMIT_EXTRA}' of model '{settings.name}'",
        ),
        parameters=_parameters(settings.parameters),
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RepositoryError(f"failed to read {path}: {error.strerror}") from error


def _definition(
    snapshot: Snapshot,
    read: ReadSettings,
    external: tuple[FileStamp, ...],
    *,
    config: ModelConfig,
) -> ModelDefinition:
    settings = read.settings
    version = settings.parameters.version if settings.parameters else None
    files = tuple(
        stamp
        for stamp in snapshot.files
        if stamp.path not in {MODEL_SETTINGS_FILE, SERVER_SETTINGS_FILE}
    )
    return ModelDefinition(
        name=model_name(settings.name),
        directory=snapshot.directory,
        format=ConfigFormat.MLSERVER,
        runtime=_runtime(settings.implementation),
        config=config,
        settings_json=read.settings_json,
        versions=(
            VersionDefinition(
                version=Version(version or ""),
                directory=snapshot.directory,
                fingerprint=version_fingerprint(
                    directory=snapshot.directory,
                    files=(*files, *external),
                    configuration=_meaning(read),
                ),
            ),
        ),
        snapshot_digest=snapshot_digest(snapshot),
    )


def _runtime(implementation: str) -> str:
    if "." not in implementation:
        return implementation
    return RUNTIMES.get(implementation, DEFAULT_RUNTIME)


def _meaning(read: ReadSettings) -> str:
    """Return the settings without the number of instances."""
    fields: dict[str, object] = msgspec.json.decode(read.settings_json)
    fields.pop("parallel_workers", None)
    return msgspec.json.encode(fields, order="deterministic").decode()


def _spec(tensor: MetadataTensor) -> TensorSpec:
    return TensorSpec(
        name=tensor.name, datatype=Datatype[tensor.datatype], shape=tensor.shape or None
    )


def _batching(settings: ModelSettings) -> BatchingPolicy | None:
    """MLServer batches only when both numbers are given and the size is above 1."""
    if settings.max_batch_size <= 1 or settings.max_batch_time <= 0.0:
        return None
    return BatchingPolicy(
        max_requests=settings.max_batch_size,
        preferred_sizes=(settings.max_batch_size,),
        max_delay_us=round(settings.max_batch_time * US_PER_S),
    )


def _environment(parameters: ModelParameters | None) -> str:
    """As MLServer: a folder goes before an archive."""
    if parameters is None:
        return ""
    return parameters.environment_path or parameters.environment_tarball or ""


def _allocator(parameters: ModelParameters | None) -> str:
    word = _extra(parameters, ALLOCATOR_EXTRA, "")
    return word if isinstance(word, str) else repr(word)


def _extra(parameters: ModelParameters | None, name: str, default: object) -> object:
    extra = (parameters.extra if parameters else None) or {}
    return extra.get(name, default)


def _parameters(parameters: ModelParameters | None) -> dict[str, str]:
    share = _extra(parameters, SHARE_WEIGHTS_EXTRA, None)
    return {} if share is None else {SHARE_WEIGHTS_PARAMETER: str(share)}


def _uri(settings: ModelSettings) -> str:
    return (settings.parameters.uri if settings.parameters else None) or ""


def _notes(settings: ModelSettings, *, folder_name: str) -> tuple[str, ...]:
    """Warn as MLServer does of a folder that is neither called like the model nor its version."""
    version = settings.parameters.version if settings.parameters else None
    if folder_name in {settings.name, version}:
        return ()
    return (f"Model name '{settings.name}' is different than model's folder name '{folder_name}'.",)
