"""Large tensors lie in huge pages where the kernel gives them on request."""

import re
from pathlib import Path

import numpy as np
import pytest

from mpserve.cli.doctor import HUGE_PAGES
from tests.fixtures.binary_tensor import binary_body
from tests.fixtures.own_shared_memory import skip_without_namespaces, with_shared_memory

MEBIBYTE = 1 << 20
TENSOR_BYTES = 16 * MEBIBYTE


def huge_bytes(pid: int) -> int:
    """Return what a process has mapped of the server's segments in huge pages."""
    sum_bytes, is_ours = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            is_ours = "/dev/shm/mps-" in line
        elif is_ours and line.startswith("ShmemPmdMapped:"):
            sum_bytes += int(line.split()[1]) * 1024
    return sum_bytes


@pytest.mark.parametrize(("mode", "at_least"), [("advise", TENSOR_BYTES // 2), ("never", 0)])
def test_large_tensors_have_huge_pages_where_these_come_on_request(
    serve, repository, mode, at_least
):
    skip_without_namespaces(f"size=1m,huge={mode}")
    if at_least and "[deny]" in Path(HUGE_PAGES).read_text():
        pytest.skip("this kernel denies huge pages in shared memory")
    repository.add("identity", "m")
    server = serve(
        repository.path,
        flags=["--frontends=1"],
        prefix=with_shared_memory(f"size=1g,huge={mode}"),
    )
    tensor = np.random.default_rng(1).random(TENSOR_BYTES // 4, np.float32)
    body, header_length = binary_body(tensor)
    headers = {"Inference-Header-Content-Length": str(header_length)}
    answer = server.request("POST", "/v2/models/m/infer", body, headers)
    assert answer.status == 200, answer.body[:200]
    assert answer.body.endswith(tensor.tobytes())

    # Both map both arenas: the frontend's with the request, the worker's with the answer.
    processes = [server.process_named(title) for title in ("mps frontend 0", "mps:m")]
    mapped = [huge_bytes(process.pid) for process in processes]
    assert min(mapped) >= at_least, mapped
    if not at_least:
        assert max(mapped) == 0
