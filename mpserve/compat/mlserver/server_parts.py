# ruff: noqa: ANN401  # nothing is done with the arguments
"""Parts of the peer's server: there to be named in imports and hints, not to be made.

mpserve is the server; a model that starts another one in its worker is refused with that reason.
"""

from typing import Any


class _ServerPart:
    def __init__(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError(
            f"{type(self).__name__} is a part of MLServer's own server, and this model runs on"
            " mpserve: start `mpserve start FOLDER` instead"
        )


class MLServer(_ServerPart):
    """The server."""


class DataPlane(_ServerPart):
    """What its wires ask for inferences."""


class ModelRepositoryHandlers(_ServerPart):
    """What its wires ask for loads and unloads."""


class MetricsServer(_ServerPart):
    """Its server of metrics."""


class ModelRepository(_ServerPart):
    """Where it finds models."""


class SchemalessModelRepository(ModelRepository):
    """Where it finds them, in folders."""


class ModelRepositoryFactory(_ServerPart):
    """What makes one."""


def main() -> None:
    """Refuse: a model can not run the peer's command.

    Raises
    ------
    NotImplementedError
        Always.
    """
    MLServer()


def configure_metrics(settings: Any) -> None:
    """Do nothing: mpserve serves what models `register` and `log`."""
    del settings
