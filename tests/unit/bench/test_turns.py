"""Bodies that take turns, as wrk sends them."""

import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bench.loading.closed_loop import lua_script
from bench.loading.v2_client import HttpRequest

TURNS = (b"first", b"second", b"third")
ROUNDS = 2
TAKEN_SECONDS = 60.0


class Recorder(BaseHTTPRequestHandler):
    """Keeps the bodies of the first rounds, and says when it has them."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(body)
        if len(self.server.bodies) == ROUNDS * len(TURNS):
            self.server.is_full.set()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_words):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Recorder) as one:
        one.bodies, one.is_full = [], threading.Event()
        thread = threading.Thread(target=one.serve_forever)
        thread.start()
        yield one
        one.shutdown()
        thread.join()


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_the_first_turn_is_sent_first_and_none_is_left_out(server, tmp_path):
    request = HttpRequest(method="POST", path="/", body=TURNS[0], turns=TURNS)
    bodies, script = tmp_path / "bodies", tmp_path / "script.lua"
    bodies.write_bytes(b"\n".join(TURNS))
    script.write_text(lua_script(request, body_path=bodies))
    url = f"http://127.0.0.1:{server.server_address[1]}/"
    wrk = ["wrk", "-t1", "-c1", f"-d{TAKEN_SECONDS:.0f}s", "-s", str(script), url]
    with subprocess.Popen(wrk, stdout=subprocess.DEVNULL) as load:
        is_full = server.is_full.wait(TAKEN_SECONDS)
        load.kill()

    assert is_full
    assert tuple(server.bodies[: ROUNDS * len(TURNS)]) == TURNS * ROUNDS
