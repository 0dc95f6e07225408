"""A yardstick, not a server: loopback and one memcpy, with the same load generator
(`bench/loopback_server.py`).
"""

import sys
from pathlib import Path

from bench.measuring.cpu import RolePattern
from bench.measuring.server import Launch
from bench.peers.peer import Site
from bench.repositories import Layout
from bench.workshop import PROJECT


class Loopback:
    """The yardstick as something that can be measured."""

    name = "loopback"
    has_repository = True
    has_statistics = False
    roles = (RolePattern(text="loopback", role="frontend"),)

    @property
    def python(self) -> Path:
        """The interpreter that runs it."""
        return Path(sys.executable)

    def install(self) -> None:
        """Nothing to do: it is part of the harness."""

    def version(self) -> str:
        """It has none."""
        return "receive, one memcpy, send"

    def layout(self, model: str) -> Layout:  # noqa: ARG002  # it reads no models
        """Any."""
        return Layout.TRITON

    def launch(self, site: Site) -> Launch:
        """Run the yardstick's program."""
        return Launch(
            argv=(sys.executable, "-m", "bench.loopback_server", str(site.http_port)),
            folder=PROJECT,
        )
