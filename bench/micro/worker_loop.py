"""What the worker adds to a model's own code: nanoseconds per request, by size of the batch.

    python -m bench.micro.worker_loop

Counted are the request objects, the checks of the results and the hand-over to a port that does
nothing; the model returns answers that were made before. Median and spread of `ROUNDS` rounds.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from mpserve import _native
from mpserve.model.config import ModelConfig
from mpserve.runtimes.protocol import LoadContext
from mpserve.runtimes.python_backend import PythonBackendRuntime
from mpserve.worker.execution import Execution

BATCHES: Final = (1, 4, 16, 64)
ROUNDS: Final = 11
REQUESTS: Final = 40_000  # in each round


MODEL: Final = """
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def __init__(self):
        tensor = pb_utils.Tensor("OUT", np.zeros(16, dtype=np.float32))
        response = pb_utils.InferenceResponse([tensor])
        self.answers = {count: [response] * count for count in range(65)}

    def execute(self, requests):
        return self.answers[len(requests)]
"""


class NullPort:
    """Takes answers and forgets them."""

    def complete(self, requests: list[Any], responses: list[Any]) -> None:
        """Drop the batch."""
        del responses
        requests.clear()

    def detach(self, requests: list[Any]) -> None:
        """Stop: no model here answers by senders."""
        raise AssertionError(f"{len(requests)} requests were left to their senders")

    def put_off(self, requests: list[Any]) -> list[int]:
        """Stop: no model here asks for a request once more."""
        raise AssertionError(f"{len(requests)} requests were put off")

    def fail(self, requests: list[Any], code: int, message: str) -> None:
        """Stop: nothing may fail here."""
        raise AssertionError(f"{len(requests)} requests failed with {code}: {message}")


def nanoseconds(batch: Callable[[], None], *, requests: int) -> float:
    """Return the time per request of `batch`, which runs `requests` of them."""
    repeats = REQUESTS // requests
    begun_ns = time.perf_counter_ns()
    for _ in range(repeats):
        batch()
    return (time.perf_counter_ns() - begun_ns) / (repeats * requests)


def load_model(directory: Path) -> PythonBackendRuntime:
    """Return a runtime with a model whose answers are made already."""
    (directory / "1").mkdir()
    (directory / "1" / "model.py").write_text(MODEL)
    runtime = PythonBackendRuntime()
    runtime.load(
        LoadContext(
            model_name="m",
            version="1",
            instance_name="m_0",
            instance_kind="KIND_CPU",
            model_directory=str(directory),
            version_directory=str(directory / "1"),
            config=ModelConfig(),
            config_json="{}",
            settings_json="",
            complete_config=False,
        )
    )
    return runtime


def batch_of(count: int, runtime: PythonBackendRuntime) -> Callable[[], None]:
    """Return a function that makes and executes a batch."""
    context = _native.InstanceContext(
        instance_name="m_0", output_names=["OUT"], open_outputs=False, absent_parameters="{}"
    )
    tensor = _native.Tensor("IN", np.zeros(16, dtype=np.float32))
    make: Callable[[], Any] = _native.LoopbackRequest([tensor], context).request  # as a model's
    run = Execution(runtime, NullPort()).run
    return lambda: run([make() for _ in range(count)])


def main() -> None:
    """Print one line for each size of the batch."""
    with tempfile.TemporaryDirectory() as directory:
        runtime = load_model(Path(directory))
    for count in BATCHES:
        batch = batch_of(count, runtime)
        nanoseconds(batch, requests=count)  # warm-up
        rounds = sorted(nanoseconds(batch, requests=count) for _ in range(ROUNDS))
        sys.stdout.write(
            f"batch {count:3}: {statistics.median(rounds):6.0f} ns per request"
            f" [{rounds[0]:.0f}-{rounds[-1]:.0f}]\n"
        )


if __name__ == "__main__":
    main()
