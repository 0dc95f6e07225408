"""The real MLServer, at a number of `parallel_workers`: 1 is its default, 0 (inference in its own
process) its fastest.

Debug, access log and metrics are off, which favours it.

Notes
-----
MLServer 1.7.1 with uvloop 0.22 or newer cannot start its parallel workers: no current event loop in
the child. With parallel workers it may hang on SIGTERM; the harness then kills it.
"""

import json
from pathlib import Path
from typing import Final

from bench.measuring.cpu import RolePattern
from bench.measuring.server import Launch
from bench.peers.environment import Environment, Step
from bench.peers.peer import Control, Site
from bench.peers.triton import SCIKIT_LEARN
from bench.repositories import Layout

MLSERVER: Final = "mlserver==1.7.1"


class MLServer:
    """MLServer with `parallel_workers` processes besides its own."""

    has_repository = True
    has_statistics = False
    roles = (
        RolePattern(text="resource_tracker", role="other"),
        RolePattern(text="multiprocessing", role="worker"),
        RolePattern(text="mlserver", role="frontend"),
    )

    def __init__(self, *, parallel_workers: int) -> None:
        self.name = f"mlserver-{parallel_workers}"
        self._parallel_workers = parallel_workers
        self._environment = Environment(
            "mlserver",
            (
                Step(
                    requirements=(MLSERVER, "mlserver-sklearn==1.7.1", SCIKIT_LEARN, "uvloop<0.22")
                ),
            ),
        )

    @property
    def python(self) -> Path:
        """The interpreter it runs under."""
        return self._environment.python

    def install(self) -> None:
        """Install it."""
        self._environment.install()

    def version(self) -> str:
        """The package and the setting that tells the two apart."""
        return f"{MLSERVER}, parallel_workers {self._parallel_workers}"

    def layout(self, model: str) -> Layout:  # noqa: ARG002  # the same for all
        """Its own."""
        return Layout.MLSERVER

    def launch(self, site: Site) -> Launch:
        """Write `settings.json` beside the models, where MLServer looks for it, and start."""
        settings = {
            "debug": False,
            "host": "127.0.0.1",
            "http_port": site.http_port,
            "grpc_port": site.grpc_port,
            "metrics_endpoint": None,
            "parallel_workers": self._parallel_workers,
            "load_models_at_startup": site.control is Control.ALL,
            "environments_dir": str(site.scratch / "environments"),
        }
        (site.repository / "settings.json").write_text(json.dumps(settings))
        argv = (str(self._environment.scripts / "mlserver"), "start", str(site.repository))
        return Launch(argv=argv, folder=site.scratch)
