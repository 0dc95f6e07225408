"""A server that is a program written for its one model, with JSON of its own.

Such a library is no model server with a repository: a program imports it, and is the server.
"""

from pathlib import Path
from typing import Final

import msgspec

from bench.measuring.cpu import RolePattern
from bench.measuring.server import Launch
from bench.peers.environment import Environment, Step
from bench.peers.peer import Site
from bench.repositories import Layout

PORT: Final = "PORT"


class Library(msgspec.Struct, frozen=True, kw_only=True):
    """A library, and the program that serves with it.

    Attributes
    ----------
    requirement
        What pip installs, with its version.
    arguments
        Of the program; `PORT` stands for the port.
    ready_path
        Answers 200 when it serves.
    """

    name: str
    requirement: str
    program: str
    arguments: tuple[str, ...]
    ready_path: str
    roles: tuple[RolePattern, ...]


class ProgramPeer:
    """One worker, all else by default."""

    has_repository = False
    has_statistics = False

    def __init__(self, library: Library) -> None:
        self.name = library.name
        self.roles = library.roles
        self._library = library
        self._environment = Environment(
            library.name, (Step(requirements=(library.requirement, "numpy")),)
        )

    @property
    def python(self) -> Path:
        """The interpreter it runs under."""
        return self._environment.python

    def install(self) -> None:
        """Install it."""
        self._environment.install()

    def version(self) -> str:
        """The package."""
        return self._library.requirement

    def layout(self, model: str) -> Layout:  # noqa: ARG002  # it has no repository
        """Any: what lies in the repository is not read."""
        return Layout.TRITON

    def launch(self, site: Site) -> Launch:
        """Write the program that is the server, and start it."""
        program = site.scratch / f"{self.name}_server.py"
        program.write_text(self._library.program)
        given = tuple(
            str(site.http_port) if one == PORT else one for one in self._library.arguments
        )
        return Launch(
            argv=(str(self.python), str(program), *given),
            folder=site.scratch,
            ready_path=self._library.ready_path,
        )
