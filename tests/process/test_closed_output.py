"""A server whose output nobody reads any more still obeys."""

import os
import signal
import subprocess
import sys
import urllib.request

from tests.fixtures.ports import free_ports
from tests.fixtures.waiting import wait_until


def test_sigterm_ends_a_server_whose_output_pipe_is_broken(tmp_path):
    http, grpc, metrics = free_ports(3)
    read_end, write_end = os.pipe()
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "mpserve", "serve", f"--model-repository={tmp_path}"),
            *("--http-address=127.0.0.1", "--grpc-address=127.0.0.1"),
            *(f"--http-port={http}", f"--grpc-port={grpc}", f"--metrics-port={metrics}"),
        ],
        stdout=write_end,
        stderr=subprocess.DEVNULL,
    )
    os.close(write_end)
    os.close(read_end)
    try:
        url = f"http://127.0.0.1:{http}/v2/health/ready"
        wait_until(
            lambda: urllib.request.urlopen(url, timeout=5).status == 200,
            deadline=30.0,
            what="the server to be ready",
        )
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
    finally:
        server.kill()
        server.wait()
