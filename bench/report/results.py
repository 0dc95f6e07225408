"""What a run has measured, as it is kept: JSON with the facts of the machine."""

from pathlib import Path

import msgspec

from bench.errors import BenchError
from bench.loading.closed_loop import LoadResult
from bench.measuring.cpu import TreeUsage
from bench.measuring.machine import MachineFacts


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """What a client at a constant rate saw after a model's process had been killed."""

    failed: int  # answers of 400 and above, broken connections, requests without an answer
    longest_wait_ms: float  # for any answer, good or bad
    back_after_ms: float | None  # from the kill to the first good answer of a later request


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario on one server in one round. Requests are loads or starts where the scenario
    measures those.
    """

    scenario: str
    server: str
    round_index: int
    load: LoadResult
    usage: TreeUsage  # of the server's whole process tree
    foreign_share: float  # of the machine, that others used meanwhile
    recovery: Recovery | None = None
    mean_batch: float | None = None  # rows of an execution, where the scenario is about that

    @property
    def cpu_us(self) -> float:
        """CPU microseconds of the server's tree per request."""
        return self.usage.cpu_ns / self.load.requests / 1e3

    @property
    def switches(self) -> float:
        """Context switches of the server's tree per request."""
        return (
            self.usage.voluntary_switches + self.usage.involuntary_switches
        ) / self.load.requests


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A measurement that could not be made, and why."""

    scenario: str
    server: str
    round_index: int
    reason: str


class Remark(msgspec.Struct, frozen=True, kw_only=True):
    """Something about a server that its figures do not show, such as what it left behind."""

    server: str
    text: str


class LibraryCost(msgspec.Struct, frozen=True, kw_only=True):
    """CPU of a model's library for one request, without a server, in the Python of `server`."""

    scenario: str
    server: str
    cpu_us: float


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run. The first server is the one that the others are compared with."""

    machine: MachineFacts
    servers: tuple[str, ...]
    scenarios: tuple[str, ...]
    versions: dict[str, str]
    rounds: int
    seconds: int
    warmup_seconds: int
    samples: tuple[Sample, ...]
    failures: tuple[Failure, ...]
    remarks: tuple[Remark, ...]
    library_costs: tuple[LibraryCost, ...]
    is_complete: bool  # False when the run was interrupted
    bytecode: str = ""  # what was compiled before the run; empty in results from before it was


def write_results(results: Results, path: Path) -> None:
    """Write `results` as JSON, by a rename, so that a file is never half there.

    Raises
    ------
    BenchError
        The folder cannot be made or written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1))
        partial.replace(path)
    except OSError as error:
        raise BenchError(f"cannot write the results to {path}: {error.strerror}") from error


def read_results(path: Path) -> Results:
    """Read what `write_results` wrote.

    Raises
    ------
    BenchError
        The file is not there or is not such a file.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Results)
    except OSError as error:
        raise BenchError(f"cannot read results from {path}: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise BenchError(f"{path} holds no results of this harness: {error}") from error
