"""What the harness has to know of a server: how to install it, how to start it, and which process
does what.
"""

import enum
from pathlib import Path
from typing import Protocol

import msgspec

from bench.measuring.cpu import RolePattern
from bench.measuring.server import Launch
from bench.repositories import Layout


class Control(enum.Enum):
    """Which models a server loads at its start."""

    ALL = "none"  # Triton's word: all models, and no load calls
    EXPLICIT = "explicit"  # none; they are loaded by calls


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """Where one start of a server takes place."""

    repository: Path
    scratch: Path  # a folder of this start alone
    control: Control
    http_port: int
    grpc_port: int
    metrics_port: int
    with_grpc: bool


class Peer(Protocol):
    """A server that can be measured."""

    @property
    def name(self) -> str:
        """The word for it on the command line and in results."""
        ...

    @property
    def has_repository(self) -> bool:
        """Whether it speaks the V2 protocol, with models that can be asked for."""
        ...

    @property
    def has_statistics(self) -> bool:
        """Whether it tells, as Triton does, what its models have executed."""
        ...

    @property
    def roles(self) -> tuple[RolePattern, ...]:
        """Which process is which, by command line or title."""
        ...

    @property
    def python(self) -> Path:
        """The interpreter in which its models run."""
        ...

    def install(self) -> None:
        """Make it ready to start; does nothing when it is.

        Raises
        ------
        MissingTool
            It cannot be installed from here; the message says what to do.
        """

    def version(self) -> str:
        """What was installed, for the results."""
        ...

    def layout(self, model: str) -> Layout:
        """The form in which it reads `model`."""
        ...

    def launch(self, site: Site) -> Launch:
        """The command line and environment of one start; writes settings into `site.scratch` where
        it has to.
        """
        ...
