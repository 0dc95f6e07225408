"""One server with the models of `scheduling_models`: how it is asked, and what they noted."""

import json
import re
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.differential.cases import HttpCase
from tests.differential.peers import Pair, ask_http
from tests.fixtures.closed_loop import Connection, infer_bytes
from tests.fixtures.waiting import wait_until

SOON = 0.3  # what is answered by then did not wait


class Asked:
    """A request on its way."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def is_answered(self, *, within: float = SOON) -> bool:
        return bool(select.select([self._connection.socket], [], [], within)[0])

    def answer(self) -> list[Any]:
        """Return the status, and the values or the error."""
        status, body = self._connection.exchange(b"")
        self._connection.close()
        told = json.loads(body)
        return [
            status,
            told["error"] if "error" in told else [one["data"] for one in told["outputs"]],
        ]

    def leave(self) -> None:
        self._connection.close()


class Stage:
    """One of the two servers.

    Parameters
    ----------
    notes
        Folder in which its models note what they are given, and where their gate is.
    """

    def __init__(self, pair: Pair, notes: Path) -> None:
        self.pair = pair
        self.server: Any = SimpleNamespace(port=pair.http_port)
        self._notes = notes / "notes"
        self._gate = notes / "gate"
        self._batches: dict[str, bool] = {}

    def clear(self) -> None:
        """Forget what was noted, and open the gate."""
        self._notes.unlink(missing_ok=True)
        self._gate.unlink(missing_ok=True)

    # --- asking ----------------------------------------------------------------------------------

    def http(self, method: str, path: str, body: Any = None) -> list[Any]:
        content = None if body is None else json.dumps(body).encode()
        answer = ask_http(self.pair.http_port, HttpCase("", method, path, content))
        try:
            return [answer.status, json.loads(answer.content)]
        except ValueError:
            return [answer.status, answer.content.decode()]

    def send(self, model: str, name: str = "", *, value: int = 0, **parameters: Any) -> Asked:
        """Send a request with this id, and do not wait."""
        if model not in self._batches:
            config = self.http("GET", f"/v2/models/{model}/config")[1]
            self._batches[model] = config["max_batch_size"] > 0
        shape = [1, 1] if self._batches[model] else [1]
        tensor = {"name": "VALUE", "datatype": "INT32", "shape": shape, "data": [value]}
        connection = Connection(self.server)
        body = {"id": name, "parameters": parameters, "inputs": [tensor]}
        connection.socket.sendall(infer_bytes(model, body))
        return Asked(connection)

    def ask(self, model: str, name: str = "", **members: Any) -> list[Any]:
        return self.send(model, name, **members).answer()

    @contextmanager
    def held(self, model: str, **parameters: Any) -> Iterator[Asked]:
        """Keep an instance busy while the block runs; `answer` it after."""
        self._gate.touch()
        before = len(self._begun())
        asked = self.send(model, "held", value=-1, **parameters)
        wait_until(lambda: len(self._begun()) > before, what="the model to hold")
        try:
            yield asked
        finally:
            self._gate.unlink(missing_ok=True)

    def queue(self, model: str, name: str, **parameters: Any) -> Asked:
        """Send a request that waits when this returns."""
        waiting = self._waiting(model)
        asked = self.send(model, name, **parameters)
        wait_until(lambda: self._waiting(model) > waiting, what=f"{name} to wait")
        return asked

    def _waiting(self, model: str) -> int:
        page = ask_http(self.pair.metrics_port, HttpCase("", "GET", "/metrics")).content.decode()
        found = re.search(
            rf'^nv_inference_pending_request_count{{.*"{model}".*}} (\S+)$', page, re.MULTILINE
        )
        return int(float(found[1])) if found else 0

    # --- what was noted --------------------------------------------------------------------------

    def notes(self) -> list[list[Any]]:
        lines = self._notes.read_text().splitlines() if self._notes.exists() else []
        return [json.loads(line) for line in lines]

    def _begun(self) -> list[list[dict[str, Any]]]:
        return [note[2] for note in self.notes() if note[1] == "begin"]

    def batches(self) -> list[list[str]]:
        """Return the ids of the requests of each batch, in the order of their execution."""
        return [[row["id"] for row in batch] for batch in self._begun()]

    def rows(self) -> list[list[dict[str, Any]]]:
        """Return what the model saw, but for the values."""
        return [
            [{k: v for k, v in row.items() if k != "VALUE"} for row in one] for one in self._begun()
        ]

    def wait_for_note(self, word: str) -> list[Any]:
        wait_until(lambda: any(note[1] == word for note in self.notes()), deadline=15, what=word)
        return [note[1:] for note in self.notes() if note[1] == word]


def pause(seconds: float) -> None:
    """Let time-outs pass."""
    time.sleep(seconds)
