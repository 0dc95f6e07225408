# ruff: noqa: ANN401  # values are the users'
"""`ModelSettings`, `ModelParameters` and `Settings` as models see them.

The environment (`MLSERVER_MODEL_*`) is applied by `mpserve.repository` before a worker starts, so
that these classes read nothing but what they are given.
"""

import importlib
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from mpserve.compat.mlserver.shape import Extra, Members, Shape
from mpserve.compat.mlserver.types import MetadataTensor
from mpserve.compat.mlserver.version import __version__

ENV_FILE_SETTINGS: Final = ".env"
ENV_PREFIX_SETTINGS: Final = "MLSERVER_"
ENV_PREFIX_MODEL_SETTINGS: Final = "MLSERVER_MODEL_"
DEFAULT_PARALLEL_WORKERS: Final = 1
DEFAULT_ENVIRONMENTS_DIR: Final = str(Path(tempfile.gettempdir(), ".envs"))
DEFAULT_METRICS_DIR: Final = str(Path(tempfile.gettempdir(), ".metrics"))


class BaseSettings(Shape):
    """Base of the settings: dumps leave out what was not set."""

    def dict(
        self,
        by_alias: bool = True,  # noqa: FBT001, FBT002  # the peer's
        exclude_unset: bool = True,  # noqa: FBT001, FBT002
        exclude_none: bool = True,  # noqa: FBT001, FBT002
        **kwargs: Any,
    ) -> Members:
        """Return the settings that were given, by their names in the file."""
        options = {**kwargs, "by_alias": by_alias, "exclude_none": exclude_none}
        return self.model_dump(exclude_unset=exclude_unset, **options)

    def json(
        self,
        by_alias: bool = True,  # noqa: FBT001, FBT002  # the peer's
        exclude_unset: bool = True,  # noqa: FBT001, FBT002
        exclude_none: bool = True,  # noqa: FBT001, FBT002
        **kwargs: Any,
    ) -> str:
        """Return the settings that were given as JSON, by their names in the file."""
        options = {**kwargs, "by_alias": by_alias, "exclude_none": exclude_none}
        return self.model_dump_json(exclude_unset=exclude_unset, **options)


class ModelParameters(BaseSettings):
    """`parameters` of `model-settings.json`; any further member is kept."""

    _extra = Extra.ALLOW

    uri: str | None = None
    version: str | None = None
    environment_path: str | None = None
    environment_tarball: str | None = None
    inference_pool_gid: str | None = None
    autogenerate_inference_pool_gid: bool = False
    format: str | None = None
    content_type: str | None = None
    extra: dict[str, Any] | None = {}  # noqa: RUF012  # each instance gets a copy

    def set_inference_pool_gid(self) -> Self:
        """Make up a group of instances, where `autogenerate_inference_pool_gid` asks for one."""
        if self.autogenerate_inference_pool_gid and self.inference_pool_gid is None:
            self.inference_pool_gid = str(uuid.uuid4())
        return self


class ModelSettings(BaseSettings):
    """`model-settings.json` of one model."""

    _aliases: ClassVar[Mapping[str, str]] = {"implementation_": "implementation"}

    implementation_: str
    name: str = ""
    platform: str = ""
    versions: list[str] = []  # noqa: RUF012  # each instance gets a copy
    inputs: list[MetadataTensor] = []  # noqa: RUF012
    outputs: list[MetadataTensor] = []  # noqa: RUF012
    parallel_workers: int | None = None
    warm_workers: bool = False
    max_batch_size: int = 0
    max_batch_time: float = 0.0
    parameters: ModelParameters | None = None
    cache_enabled: bool = False

    _source: str | None = None
    """Path of the file; what relative URIs are relative to."""

    def __init__(self, **values: Any) -> None:
        implementation = values.get("implementation")
        if isinstance(implementation, type):
            values["implementation"] = import_path(implementation)
        self._implementation_class = implementation if isinstance(implementation, type) else None
        super().__init__(**values)

    @classmethod
    def parse_file(cls, path: str | Path) -> Self:
        """Return the settings in a file, which remember where it lies."""
        settings = super().parse_file(path)
        settings._source = str(path)  # noqa: SLF001  # the peer's name for it
        return settings

    @property
    def implementation(self) -> Any:
        """The class of the model; imported when asked for, also from the settings' folder.

        Raises
        ------
        ImportError
            There is no such module, or it has no such class.
        """
        if self._implementation_class is None:
            folder = Path(self._source).parent if self._source else None
            self._implementation_class = import_class(self.implementation_, folder=folder)
        return self._implementation_class

    @implementation.setter
    def implementation(self, implementation: type) -> None:
        self._implementation_class = implementation
        self.implementation_ = import_path(implementation)

    @property
    def version(self) -> str | None:
        """Version in the parameters."""
        return self.parameters.version if self.parameters else None


class CORSSettings(BaseSettings):
    """Cross-origin rules of MLServer's HTTP server."""

    allow_origins: list[str] | None = []  # noqa: RUF012
    allow_origin_regex: str | None = None
    allow_credentials: bool | None = False
    allow_methods: list[str] | None = ["GET"]  # noqa: RUF012
    allow_headers: list[str] | None = []  # noqa: RUF012
    expose_headers: list[str] | None = []  # noqa: RUF012
    max_age: int | None = 600


class Settings(BaseSettings):
    """`settings.json` of the server, for models that read one; mpserve itself does not."""

    debug: bool = True
    parallel_workers: int = 1
    parallel_workers_timeout: int = 5
    environments_dir: str = DEFAULT_ENVIRONMENTS_DIR
    model_repository_implementation: str | None = None
    model_repository_root: str = "."
    model_repository_implementation_args: dict[str, Any] = {}  # noqa: RUF012
    load_models_at_startup: bool = True
    server_name: str = "mlserver"
    server_version: str = __version__
    extensions: list[str] = []  # noqa: RUF012
    host: str = "0.0.0.0"  # noqa: S104  # the peer's default, only shown
    http_port: int = 8080
    root_path: str = ""
    grpc_port: int = 8081
    grpc_max_message_length: int | None = None
    cors_settings: CORSSettings | None = None
    metrics_endpoint: str | None = "/metrics"
    metrics_port: int = 8082
    metrics_rest_server_prefix: str = "rest_server"
    metrics_dir: str = DEFAULT_METRICS_DIR
    use_structured_logging: bool = False
    logging_settings: str | dict[str, Any] | None = None
    kafka_enabled: bool = False
    kafka_servers: str = "localhost:9092"
    kafka_topic_input: str = "mlserver-input"
    kafka_topic_output: str = "mlserver-output"
    tracing_server: str | None = None
    cache_enabled: bool = False
    cache_size: int = 100
    gzip_enabled: bool = True


def import_path(implementation: type) -> str:
    """Return `module.Class` of a class."""
    return f"{implementation.__module__}.{implementation.__name__}"


def import_class(path: str, *, folder: Path | None = None) -> Any:
    """Return the class at `module.Class`.

    Parameters
    ----------
    folder
        Searched for the module before all others.

    Raises
    ------
    ImportError
        There is no such module, or it has no such class.
    """
    module_name, _, class_name = path.rpartition(".")
    if not module_name:
        raise ImportError(f"implementation '{path}' is not of the form 'module.Class'")
    with _import_path(folder):
        module = importlib.import_module(module_name)
    try:
        return getattr(module, class_name)
    except AttributeError as error:
        raise ImportError(f"module '{module_name}' has no class '{class_name}'") from error


@contextmanager
def _import_path(folder: Path | None) -> Iterator[None]:
    """Let modules be imported from a folder within the block."""
    if folder is None or str(folder) in sys.path:
        yield
        return
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
