"""What a scan is told and what it found. Shapes only.

A scan never says "removed": a model is gone when its name is in none of the tables of a
`ScanResult`. Models of a root that could not be read are carried over from the previous result.
"""

import msgspec

from mpserve.errors import Failure
from mpserve.model.definition import ConfigFormat, ModelDefinition
from mpserve.model.identity import ModelName
from mpserve.model.rate_limit import RateLimits
from mpserve.repository.snapshot import FileStamp, Snapshot


class ScanOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How repositories are read; constant for the life of a server.

    Attributes
    ----------
    format
        Format of the peer whose dialect is spoken. It wins where a folder has the files of both,
        and decides what a folder without any is: a broken model (Triton) or nothing (MLServer).
    auto_complete
        A missing or incomplete `config.pbtxt` is completed (`--disable-auto-complete-config`).
    config_name
        Custom configuration: `configs/<config_name>.pbtxt` wins where it exists; "" for none.
    environment
        `MLSERVER_MODEL_*` variables, by full name.
    parallel_workers
        Instances of a model with `model-settings.json` that says no number.
    gpus
        Device ids that `KIND_GPU` may name. With none, `KIND_GPU` is refused.
    rate_limits
        Of the resources that executions share; `None` when instance groups' needs are ignored.
    override_directory
        Existing directory in which `file:` overrides are materialised; "" for the system's
        temporary directory.
    """

    format: ConfigFormat = ConfigFormat.TRITON
    auto_complete: bool = True
    config_name: str = ""
    environment: dict[str, str] = {}
    parallel_workers: int = 1
    gpus: tuple[int, ...] = ()
    rate_limits: RateLimits | None = None
    override_directory: str = ""


class Override(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of a load call that replace what the repository has.

    Attributes
    ----------
    config
        `ModelConfig` as JSON text, "" for none.
    files
        Relative path -> content, without the prefix `file:`. When not empty, the repository is not
        looked at.
    """

    config: str = ""
    files: dict[str, bytes] = {}


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One folder that describes a model, before equal names are brought together.

    Attributes
    ----------
    directory
        Absolute path of the folder.
    token
        Changes whenever anything about the folder changes.
    outcome
        What serving it takes, or why it can not be served.
    name_is_guess
        The settings that would name it can not be read; the folder's name stands in.
    uri, external
        MLServer's `parameters.uri`, and the stamps of the files it names outside the folder.
    """

    name: ModelName
    format: ConfigFormat
    directory: str
    token: str
    outcome: ModelDefinition | Failure
    name_is_guess: bool = False
    notes: tuple[str, ...] = ()
    uri: str = ""
    external: tuple[FileStamp, ...] = ()


class ScannedFolder(msgspec.Struct, frozen=True, kw_only=True):
    """One direct child of a root (or the root itself) and the models in it."""

    root: str
    snapshot: Snapshot
    candidates: tuple[Candidate, ...]


class ScanResult(msgspec.Struct, frozen=True, kw_only=True):
    """Wanted state of the repositories.

    Attributes
    ----------
    definitions
        Models that should be served.
    broken
        Models that are there but can not be served as they are: code and reason. One that is being
        served goes on with what it has. Code `LOAD_FAILED` marks what Triton finds while it loads
        (no version); all else it calls "failed to poll".
    duplicates
        Models found in more than one place: their directories.
    names
        All models seen, for the index: the keys of the three tables above, sorted.
    unreadable_roots
        Roots that could not be listed. Their models are here as they were in the previous result.
    tokens
        A word per name that changes whenever anything about the model's files does; the food of
        `mpserve.repository.stillness`.
    notes
        Warnings for the log, in order, each once.
    folders
        What the next scan may reuse, by path.
    """

    options: ScanOptions
    definitions: dict[ModelName, ModelDefinition]
    broken: dict[ModelName, Failure]
    duplicates: dict[ModelName, tuple[str, ...]]
    names: tuple[ModelName, ...]
    unreadable_roots: dict[str, Failure]
    tokens: dict[ModelName, str]
    notes: tuple[str, ...]
    folders: dict[str, ScannedFolder]
