"""One server per dialect and module: these tests ask much and change little."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.fixtures.grpc_calls import Calls
from tests.fixtures.leftovers import descendants, left_segments, segments
from tests.fixtures.pace import within
from tests.fixtures.server import Server
from tests.fixtures.waiting import wait_until
from tests.protocol.models import mlserver_repository, triton_repository

LEFT_SECONDS = within(5)


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """Look for leftovers after the module, because its server outlives its tests."""
    pids_before, segments_before = set(descendants()), segments()
    yield

    def is_clean() -> bool:
        return not (set(descendants()) - pids_before) and not left_segments(segments_before)

    wait_until(is_clean, deadline=LEFT_SECONDS, what="processes and segments to be gone")


@pytest.fixture(scope="module")
def grpc_transport(request: pytest.FixtureRequest) -> Iterator[str]:
    """What carries gRPC in the servers that are started; see `BOTH_TRANSPORTS`."""
    transport = getattr(request, "param", "auto")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPSERVE_GRPC_TRANSPORT", transport)
        yield transport


@pytest.fixture(scope="module")
def triton(
    nothing_is_left_behind: None, grpc_transport: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server that speaks Triton's dialect, in explicit mode with all models loaded."""
    folder = tmp_path_factory.mktemp("triton")
    with Server.serve(
        triton_repository(folder / "models"),
        flags=["--model-control-mode=explicit", "--load-model=*"],
        log_path=folder / "log",
    ) as server:
        yield server


@pytest.fixture(scope="module")
def calls(triton: Server) -> Iterator[Calls]:
    """Calls to that server over gRPC."""
    with grpc.insecure_channel(triton.grpc_address) as channel:
        yield Calls(channel)


@pytest.fixture(scope="module")
def mlserver(
    nothing_is_left_behind: None, grpc_transport: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server that speaks MLServer's dialect; the model `broken` never loads."""
    folder = tmp_path_factory.mktemp("mlserver")
    with Server.start(
        mlserver_repository(Path(folder, "models")), log_path=folder / "log"
    ) as server:
        yield server
