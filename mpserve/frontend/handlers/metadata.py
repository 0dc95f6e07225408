"""What the server and its models tell about themselves."""

from typing import Any, Final

import msgspec
import orjson

from mpserve.control.messages import ModelEntry, VersionEntry
from mpserve.dispatch.routing_table import RoutingTable
from mpserve.errors import InvalidRequest, ModelNotFound, ModelNotReady, Unsupported
from mpserve.model.definition import ConfigFormat
from mpserve.model.metadata import ModelMetadata, ServerMetadata, TensorMetadata
from mpserve.model.signature import TensorSpec
from mpserve.model.tensor import Datatype
from mpserve.settings import Settings


class MetadataHandler:
    """Metadata for all wires of a frontend."""

    def __init__(self, *, table: RoutingTable, settings: Settings) -> None:
        self._table = table
        self._server = ServerMetadata(
            name=settings.server_name,
            version=settings.server_version,
            extensions=settings.extensions,
        )

    def server(self) -> ServerMetadata:
        """Return the server's metadata."""
        return self._server

    def model(self, name: str, version: str) -> ModelMetadata:
        """Return the metadata of a version, or of the default version for "".

        Raises
        ------
        ModelNotFound, ModelNotReady
            As the routing table has it.
        """
        routed = self._table.ready(name, version)
        if routed.model.format is ConfigFormat.MLSERVER:
            return _declared(routed.model, routed.version, self._versions(name, version))
        return _configured(routed.model, routed.version, self._versions(name, version))

    def check_ready(self, name: str, version: str) -> None:
        """Raise unless a version, or the default one for "", is ready and says so itself.

        Raises
        ------
        ModelNotFound, ModelNotReady
            As the routing table has it; what the model complains of.
        """
        routed = self._table.ready(name, version)
        if routed.version.complaint:
            raise ModelNotReady(routed.version.complaint)

    def check_known(self, name: str) -> None:
        """Raise `InvalidRequest`, in the peer's words, unless a version of the model is ready."""
        try:
            self._table.ready(name, "")
        except (ModelNotFound, ModelNotReady) as error:
            raise InvalidRequest(f"Request for unknown model : {name}") from error

    def config(self, name: str, version: str) -> str:
        """Return the model configuration as JSON text.

        Raises
        ------
        ModelNotFound, ModelNotReady
            As the routing table has it.
        Unsupported
            An MLServer model has no such configuration.
        """
        routed = self._table.ready(name, version)
        if not routed.version.config_json:
            raise Unsupported(
                f"model '{name}' has no model configuration: model-settings.json describes it"
            )
        return routed.version.config_json

    def _versions(self, name: str, version: str) -> tuple[str, ...]:
        return (version,) if version else self._table.ready_versions(name)


def _configured(
    model: ModelEntry, version: VersionEntry, versions: tuple[str, ...]
) -> ModelMetadata:
    config = version.config
    return ModelMetadata(
        name=model.name,
        versions=versions,
        platform=config.platform or config.backend,
        inputs=_tensors(config.signature.inputs),
        outputs=_tensors(config.signature.outputs),
    )


def _tensors(specs: tuple[TensorSpec, ...]) -> tuple[TensorMetadata, ...]:
    return tuple(
        TensorMetadata(name=spec.name, datatype=spec.datatype, shape=spec.shape)
        for spec in specs
        if spec.datatype is not None and spec.shape is not None
    )


class _Declaration(msgspec.Struct, frozen=True, kw_only=True):
    """An input or output in `model-settings.json`."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    parameters: dict[str, Any] | None = None  # passed on as they stand


_SHOWN_PARAMETER: Final = "content_type"
"""Of the settings; a model may tell any."""


class _ShownSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an MLServer model's metadata shows of its settings, or the model tells of itself."""

    platform: str = ""
    versions: tuple[str, ...] = ()
    inputs: tuple[_Declaration, ...] = ()
    outputs: tuple[_Declaration, ...] = ()
    parameters: dict[str, Any] = {}  # as they stand


def _declared(model: ModelEntry, version: VersionEntry, ready: tuple[str, ...]) -> ModelMetadata:
    """MLServer tells what the model or its settings say; the versions that serve stand in when they
    say none.
    """
    told = version.config.metadata_json
    settings = msgspec.json.decode(told or model.settings_json, type=_ShownSettings)
    parameters = settings.parameters
    if not told:
        parameters = {
            k: v for k, v in parameters.items() if k == _SHOWN_PARAMETER and v is not None
        }
    return ModelMetadata(
        name=model.name,
        versions=settings.versions or tuple(version for version in ready if version),
        platform=settings.platform,
        inputs=_declared_tensors(settings.inputs),
        outputs=_declared_tensors(settings.outputs),
        parameters_json=orjson.dumps(parameters).decode() if parameters else "",
    )


def _declared_tensors(declarations: tuple[_Declaration, ...]) -> tuple[TensorMetadata, ...]:
    return tuple(
        TensorMetadata(
            name=one.name,
            datatype=Datatype[one.datatype],
            shape=one.shape,
            parameters_json=orjson.dumps(one.parameters).decode() if one.parameters else "",
        )
        for one in declarations
    )
