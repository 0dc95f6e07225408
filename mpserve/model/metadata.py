"""What a server and its models tell about themselves (KServe V2 metadata)."""

import msgspec

from mpserve.model.tensor import Datatype


class ServerMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """Name, version and protocol extensions of the server."""

    name: str
    version: str
    extensions: tuple[str, ...]


class TensorMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """One input or output.

    Attributes
    ----------
    shape
        -1 stands for any size; leading -1 when the model batches.
    parameters_json
        JSON object of an MLServer model's declaration, "" for none.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    parameters_json: str = ""


class ModelMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """One model, or one version of it.

    Attributes
    ----------
    versions
        The one that was asked for, else all that are ready (MLServer: those its settings list).
    platform
        The configuration's, or the backend's name.
    parameters_json
        JSON object of what an MLServer model tells of itself, "" for nothing.
    """

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]
    parameters_json: str = ""
