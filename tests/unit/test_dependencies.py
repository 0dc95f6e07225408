"""The bill of materials that CI writes, and what it does about known faults."""

import importlib.util
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / ".ci" / "dependencies.py"


@pytest.fixture
def dependencies():
    spec = importlib.util.spec_from_file_location("dependencies", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def advisories(dependencies, monkeypatch):
    """Somebody who answers as osv.dev does, and knows one fault of uvloop."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
            known = [
                {"vulns": [{"id": "PYSEC-1"}]} if one["package"]["name"] == "uvloop" else {}
                for one in asked
            ]
            body = json.dumps({"results": known}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setattr(dependencies, "URL", f"http://127.0.0.1:{server.server_port}/")
        yield
        server.shutdown()
        thread.join()


def test_the_bill_names_what_is_needed_and_a_known_fault_fails(
    dependencies, advisories, tmp_path, capsys
):
    assert dependencies.main(tmp_path / "sbom.json") == 1
    bill = json.loads((tmp_path / "sbom.json").read_text())
    rows = {row["name"]: row for row in bill["components"]}
    assert {"numpy", "uvloop", "msgspec", "protobuf", "anyio"} <= set(rows)  # anyio: of watchfiles
    assert "pytest" not in rows
    assert rows["uvloop"]["purl"] == f"pkg:pypi/uvloop@{rows['uvloop']['version']}"
    assert "PYSEC-1" in capsys.readouterr().out


def test_without_a_network_the_bill_is_written_and_nothing_fails(
    dependencies, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(dependencies, "URL", "http://127.0.0.1:9/")  # discard: nobody listens
    assert dependencies.main(tmp_path / "sbom.json") == 0
    assert (tmp_path / "sbom.json").exists()
    assert "can not be asked" in capsys.readouterr().out
