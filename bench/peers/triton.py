"""The real Triton: the `tritonserver` binary and the Python backend that the `nvidia-pytriton`
wheel brings.

Default flags but for ports, metrics off, and whatever a scenario needs; no dynamic batching.

Notes
-----
The wheel's Python stub is built for numpy 1: under numpy 2 it mistakes datatypes and outputs come
back empty. It links `libpython3.X`, which it must find where the interpreter of our environment has
it; the interpreter's home is found through `PATH`, its packages through `PYTHONPATH`.
"""

import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Final

from bench.errors import MissingTool
from bench.measuring.cpu import RolePattern
from bench.measuring.server import Launch
from bench.peers.environment import Environment, Step
from bench.peers.peer import Site
from bench.repositories import Layout

PYTRITON: Final = "nvidia-pytriton==0.7.0"
SCIKIT_LEARN: Final = "scikit-learn==1.9.1"  # the same for all peers: it is part of the measure


class Triton:
    """Triton on the CPU, one instance per model."""

    name = "triton"
    has_repository = True
    has_statistics = True
    roles = (
        RolePattern(text="triton_python_backend_stub", role="worker"),
        RolePattern(text="tritonserver", role="frontend"),
    )

    def __init__(self) -> None:
        self._environment = Environment(
            self.name,
            (
                Step(requirements=("numpy<2", SCIKIT_LEARN)),
                Step(
                    requirements=(PYTRITON,), with_dependencies=False
                ),  # its own are for its Python API
            ),
        )

    @property
    def python(self) -> Path:
        """The interpreter that the stub embeds."""
        return self._environment.python

    def install(self) -> None:
        """Install the wheel; put the stub of this Python where the backend looks for it."""
        self._environment.install()
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        source = self._home / "python_backend_stubs" / version / "triton_python_backend_stub"
        if not source.exists():
            raise MissingTool(
                f"{PYTRITON} has no stub for Python {version}; run the harness with 3.11 to 3.13"
            )
        target = self._home / "backends" / "python" / source.name
        if not target.exists():
            shutil.copy2(source, target)

    def version(self) -> str:
        """The wheel, which fixes Triton's own version."""
        return PYTRITON

    def layout(self, model: str) -> Layout:  # noqa: ARG002  # the same for all
        """Its own."""
        return Layout.TRITON

    def launch(self, site: Site) -> Launch:
        """Start with HTTP on loopback, metrics off, gRPC only where it is measured."""
        argv = (
            str(self._home / "bin" / "tritonserver"),
            f"--model-repository={site.repository}",
            f"--backend-directory={self._home / 'backends'}",
            "--http-address=127.0.0.1",
            f"--http-port={site.http_port}",
            f"--allow-grpc={str(site.with_grpc).lower()}",
            *(
                ("--grpc-address=127.0.0.1", f"--grpc-port={site.grpc_port}")
                if site.with_grpc
                else ()
            ),
            "--allow-metrics=false",
            f"--model-control-mode={site.control.value}",
        )
        return Launch(argv=argv, environment=self._variables(), folder=site.scratch)

    @property
    def _home(self) -> Path:
        return self._environment.site_packages / "pytriton" / "tritonserver"

    def _variables(self) -> dict[str, str]:
        libraries = self._environment.site_packages / "nvidia_pytriton.libs"
        libpython = sysconfig.get_config_var("LIBDIR") or "/usr/lib"
        return {
            "LD_LIBRARY_PATH": f"{libraries}:{libpython}",
            "PATH": f"{self._environment.scripts}:{os.environ.get('PATH', '/usr/bin:/bin')}",
            "PYTHONPATH": str(self._environment.site_packages),
        }
