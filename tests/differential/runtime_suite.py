"""Custom runtimes, written as public ones are, on MLServer and on mpserve."""

import contextlib
import re
import shutil
from pathlib import Path
from typing import Any

from bench.peers.mlserver import MLServer
from bench.peers.peer import Control
from tests.differential import mlserver_suite, runtime_requests
from tests.differential.peers import Pair, running
from tests.differential.runtime_differences import DIFFERENCES
from tests.differential.suite import Suite
from tests.fixtures.grpc_calls import MLSERVER
from tests.fixtures.repository import TEMPLATES

RUNTIMES = TEMPLATES / "mlserver_runtimes"
CLASS_OF_ERROR = re.compile(r"^(builtins\.|\w+(\.\w+)+: )")  # as the peer's workers tell it


def write_models(root: Path) -> Path:
    """Copy the runtimes as they are."""
    shutil.copytree(RUNTIMES, root, ignore=shutil.ignore_patterns("__pycache__"))
    return root


def peer(repository: Path, scratch: Path) -> contextlib.AbstractContextManager[Pair]:
    """Run MLServer with one worker, its default: there, what `load` returns counts for nothing."""
    return running(MLServer(parallel_workers=1), repository, scratch, control=Control.ALL)


def settled(value: Any) -> Any:
    """Return a value as that suite has it, errors without their classes' modules."""
    value = mlserver_suite.settled(value)
    if isinstance(value, dict) and isinstance(value.get("error"), str):
        return {**value, "error": CLASS_OF_ERROR.sub("", value["error"])}
    return CLASS_OF_ERROR.sub("", value) if isinstance(value, str) else value


SUITE = Suite(
    name="runtimes",
    write_models=write_models,
    peer=peer,
    ours=mlserver_suite.ours,
    http_cases=runtime_requests.http_cases(),
    grpc_cases=runtime_requests.grpc_cases(),
    stream_cases=runtime_requests.stream_cases(),
    messages=MLSERVER,
    settle=settled,
    differences=DIFFERENCES,
    least_cases=90,
)
