"""What a run needs on the machine: load generators and peers."""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from typing import Final

from bench.errors import BenchError, MissingTool
from bench.loading.closed_loop import PACKAGES
from bench.peers import PEERS
from bench.report.results import Failure

APT_TIMEOUT_S: Final = 600


def install(servers: Sequence[str], *, tell: Callable[[str], None]) -> None:
    """Install the load generators with apt, and the servers.

    Raises
    ------
    BenchError
        One of them could not be installed; the others are.
    """
    _install_generators(tell)
    failures = install_peers(servers, tell=tell)
    if failures:
        raise BenchError("; ".join(f"{failure.server}: {failure.reason}" for failure in failures))


def install_peers(servers: Sequence[str], *, tell: Callable[[str], None]) -> tuple[Failure, ...]:
    """Install each server that is not there yet; those that cannot be are returned."""
    failures = []
    for server in servers:
        tell(f"preparing {server}")
        try:
            PEERS[server].install()
        except BenchError as error:
            tell(f"{server}: {error}")
            failures.append(
                Failure(scenario="installation", server=server, round_index=0, reason=str(error))
            )
    return tuple(failures)


def _install_generators(tell: Callable[[str], None]) -> None:
    packages = sorted(
        {package for program, package in PACKAGES.items() if shutil.which(program) is None}
    )
    if not packages:
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise MissingTool(
            f"as root on a Debian-like system: apt-get install -y {' '.join(packages)}"
        )
    tell(f"installing {' '.join(packages)}")
    for argv in (["apt-get", "update", "-q"], ["apt-get", "install", "-y", "-q", *packages]):
        ran = subprocess.run(
            argv, capture_output=True, text=True, timeout=APT_TIMEOUT_S, check=False
        )
        if ran.returncode != 0:
            raise BenchError(f"{' '.join(argv)} ended with {ran.returncode}: {ran.stderr[-500:]}")
