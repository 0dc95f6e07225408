"""A small real server of the repository API."""

import http.server
import json
import threading

import pytest

INDEX = [
    {"name": "a", "version": "1", "state": "READY"},
    {"name": "b", "version": "2", "state": "UNAVAILABLE", "reason": "no [module] x"},
    {"name": "never-loaded"},
]


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers from `server.answers`: path -> (status, body); remembers the paths."""

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append(self.path)
        status, body = self.server.answers[self.path]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST  # noqa: N815  # the name that http.server asks for

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def peer():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.answers = {"/v2/repository/index": (200, json.dumps(INDEX).encode())}
    server.asked = []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
