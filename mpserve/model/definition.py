"""A model as the repository wants it: what was found on disk, parsed and chosen.

Made by `mpserve.repository`, planned on by `mpserve.lifecycle`, carried to workers.
"""

import enum

import msgspec

from mpserve.model.config import ModelConfig
from mpserve.model.identity import ModelName, Version


class ConfigFormat(enum.Enum):
    """Which peer's files describe the model."""

    TRITON = "triton"
    MLSERVER = "mlserver"


class OwnSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What one version has of its own: in MLServer's format each version has its own settings.

    Attributes
    ----------
    runtime, config, settings_json
        In place of the fields of the same names of `ModelDefinition`.
    """

    runtime: str
    config: ModelConfig
    settings_json: str


class VersionDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """One version that should be served.

    Attributes
    ----------
    version
        Version of the directory, or MLServer's `parameters.version`.
    directory
        Absolute path the runtime loads from: `<model>/<version>`, or the folder of
        `model-settings.json`.
    fingerprint
        Digest of everything whose change means that this version must be loaded anew: its files,
        the files shared by all versions, and the configuration without `instance_group` and
        `version_policy`. Equal fingerprints mean equal content.
    own
        Settings of this version alone; `None` when the model's hold for it.
    """

    version: Version
    directory: str
    fingerprint: str
    own: OwnSettings | None = None


class ModelDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """One model that should be served.

    Attributes
    ----------
    name
        Model name; unique in the server.
    directory
        Absolute path of the model directory.
    runtime
        Entry-point name in the group `mpserve.runtimes` (`python`, `mlserver`, `sklearn`, …),
        decided from the backend or the `implementation`.
    config
        Parsed and normalized configuration. Not yet completed by the model: see `auto_complete`.
    config_json
        The same as JSON with all defaults, as `GET /v2/models/M/config` prints it (Triton), or
        "" for MLServer.
    settings_json
        `model-settings.json` of an MLServer model with the environment applied, else "".
    auto_complete
        The runtime may complete the configuration while loading.
    versions
        Chosen by the version policy, in ascending order; at least one.
    snapshot_digest
        Digest of all files of the model as they were seen, the configuration's among them. A plain
        load keeps an override in force as long as this is what it was at the override.
    temporary
        `directory` is a private copy made for `file:` overrides. Who took the definition removes it
        (`mpserve.repository.discard`) when nothing is loaded from it any more.
    """

    name: ModelName
    directory: str
    format: ConfigFormat
    runtime: str
    config: ModelConfig
    config_json: str = ""
    settings_json: str = ""
    auto_complete: bool = True
    versions: tuple[VersionDefinition, ...]
    snapshot_digest: str = ""
    temporary: bool = False
