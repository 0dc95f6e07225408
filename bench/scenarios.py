"""What is measured, as data. A new scenario is a new row of `SCENARIOS`.

`encodings` tells which servers can take part, and how each is spoken to: MLServer has no binary
tensors over HTTP, so it gets the same tensor as JSON.
"""

import enum
from typing import Final, Literal

import msgspec

from bench.loading.payload import Encoding, Floats, Tensors

Server = Literal[
    "mpserve", "mpserve-f2", "triton", "mlserver-0", "mlserver-1", "mosec", "litserve", "loopback"
]


class Measure(enum.Enum):
    """What is done in one round."""

    INFER = "infer"  # a closed loop of inferences
    OPEN = "open"  # inferences at a constant rate
    LIVE = "live"  # a closed loop of GET /v2/health/live
    INDEX = "index"  # a closed loop of repository indexes, no model loaded
    LOAD = "load"  # load calls of an unloaded model, until it is ready, one after the other
    RELOAD = "reload"  # as OPEN, while the model is reloaded again and again
    KILL = "kill"  # as OPEN, and once the process of the model is killed
    UNLOAD = "unload"  # unload calls of a loaded model, until the index shows it
    START = "start"  # starts of the server, until it is ready, one after the other


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table, for each server that can do it."""

    name: str
    title: str
    measure: Measure
    encodings: dict[Server, Encoding]
    models: tuple[str, ...] = ()
    tensors: Tensors | Floats | None = None
    connections: int = 1
    idle_connections: int = 0  # open beside them, silent
    rate: float = 0.0  # of OPEN, in requests per second
    client_threads: int = 1
    least_seconds: int = 1  # of load, where slow servers answer too few requests otherwise
    least_warmup_seconds: int = 0  # where a load generator takes long to begin
    json_seconds: int = 0  # of load and of warm-up, where one answer in JSON takes seconds
    repeats: int = 1  # of LOAD, UNLOAD and START in one round
    copies: int = 1  # of each model, under names of their own: NAME_0, NAME_1, …
    versions: int = 1  # of each model, all of them served
    instances: int = 1  # of each version
    batch_rows: int = 1  # that a batch may have, where that is what is measured
    tells_batches: bool = False  # how many rows its executions have is told
    sequences: int = 0  # that the requests belong to; 0: they belong to none

    def load_seconds(self, server: Server, seconds: int) -> int:
        """How long `server` is measured when `seconds` are asked for."""
        return max(seconds, self.least_seconds, self._json_seconds(server))

    def warmup_seconds(self, server: Server, seconds: int) -> int:
        """How long `server` is loaded before that."""
        return max(seconds, self.least_warmup_seconds, self._json_seconds(server))

    def _json_seconds(self, server: Server) -> int:
        return self.json_seconds if self.encodings[server] is Encoding.JSON else 0

    def served(self) -> dict[str, str]:
        """The models in the repository: name there to name in `bench.repositories`."""
        if self.copies == 1:
            return {model: model for model in self.models}
        return {f"{model}_{copy}": model for model in self.models for copy in range(self.copies)}


_HTTP_JSON: Final[dict[Server, Encoding]] = {
    "mpserve": Encoding.JSON,
    "mpserve-f2": Encoding.JSON,
    "triton": Encoding.JSON,
    "mlserver-0": Encoding.JSON,
    "mlserver-1": Encoding.JSON,
}
_V2: Final[tuple[Server, ...]] = ("mpserve", "triton", "mlserver-0", "mlserver-1")
_GRPC: Final[dict[Server, Encoding]] = dict.fromkeys(_V2, Encoding.GRPC)
_NO_BODY: Final[dict[Server, Encoding]] = dict.fromkeys(_V2, Encoding.NONE)
_SMALL: Final[dict[Server, Encoding]] = {
    **_HTTP_JSON,
    "mosec": Encoding.MOSEC,
    "litserve": Encoding.LITSERVE,
}
_BINARY: Final[dict[Server, Encoding]] = dict.fromkeys(
    ("mpserve", "mpserve-f2", "triton"), Encoding.BINARY
)
_LARGE: Final[dict[Server, Encoding]] = {
    **_BINARY,
    "mlserver-0": Encoding.JSON,
    "mlserver-1": Encoding.JSON,
    "loopback": Encoding.BINARY,
}
# MLServer takes seconds for four such requests at once: too few in a round for a figure.
_LARGEST_AT_ONCE: Final[dict[Server, Encoding]] = {**_BINARY, "loopback": Encoding.BINARY}


def _small(connections: int) -> Scenario:
    return Scenario(
        name=f"json16_c{connections}",
        title=f"HTTP JSON, 16 floats, {connections} connections",
        measure=Measure.INFER,
        encodings=_SMALL,
        models=("simple",),
        tensors=Tensors.FLOATS_16,
        connections=connections,
    )


_PAIR: Final[dict[Server, Encoding]] = {"mpserve": Encoding.JSON, "triton": Encoding.JSON}


def _open(rate: int, encodings: dict[Server, Encoding]) -> Scenario:
    return Scenario(
        name=f"open_{rate}",
        title=f"HTTP JSON, 16 floats, {rate} requests/s over 32 connections (open loop)",
        measure=Measure.OPEN,
        encodings=encodings,
        models=("simple",),
        tensors=Tensors.FLOATS_16,
        connections=32,
        rate=rate,
    )


def _large(
    name: str,
    tensors: Tensors,
    connections: int,
    encodings: dict[Server, Encoding] = _LARGE,
) -> Scenario:
    return Scenario(
        name=f"{name}_c{connections}",
        title=f"{tensors.value} in and out, {connections} connections",
        measure=Measure.INFER,
        encodings=encodings,
        models=("identity",),
        tensors=tensors,
        connections=connections,
        least_seconds=8 if tensors is Tensors.FLOATS_16_MIB else 1,
        json_seconds=20 if tensors is Tensors.FLOATS_16_MIB else 0,
        client_threads=min(2, connections),  # with four, one thread moves less than a server does
    )


def _digits(connections: int) -> Scenario:
    return Scenario(
        name=f"digits_c{connections}",
        title=f"scikit-learn digits SVM, HTTP JSON, {connections} connections",
        measure=Measure.INFER,
        encodings=_HTTP_JSON,
        models=("digits",),
        tensors=Tensors.DIGIT,
        connections=connections,
    )


def _digits_batched(connections: int) -> Scenario:
    model = f"digits_batched_{connections}"
    return Scenario(
        name=f"digits_batched_c{connections}",
        title=f"the same with batches of up to {connections}, {connections} connections",
        measure=Measure.INFER,
        encodings=_HTTP_JSON,
        models=(model,),
        tensors=Tensors.DIGIT,
        connections=connections,
        batch_rows=connections,
        tells_batches=True,
    )


def _call(connections: int) -> Scenario:
    return Scenario(
        name=f"bls_c{connections}",
        title=f"a model that asks another (BLS), HTTP JSON, {connections} connections",
        measure=Measure.INFER,
        encodings=_PAIR,
        models=("caller", "simple"),
        tensors=Floats(elements=16, model="caller"),
        connections=connections,
    )


def _scheduled(
    name: str,
    model: str,
    what: str,
    *,
    connections: int,
    instances: int = 1,
    sequences: int = 0,
) -> Scenario:
    return Scenario(
        name=name,
        title=f"HTTP JSON, 16 floats, {connections} connections, {what}",
        measure=Measure.INFER,
        encodings=_PAIR,
        models=(model,),
        tensors=Floats(elements=16, model=model),
        connections=connections,
        instances=instances,
        tells_batches=True,
        sequences=sequences,
    )


SCENARIOS: Final[dict[str, Scenario]] = {
    scenario.name: scenario
    for scenario in (
        _small(1),
        _small(16),
        _small(64),
        _open(1000, _SMALL),  # all but LitServe and MLServer's default can
        _open(4000, {"mpserve": Encoding.JSON, "triton": Encoding.JSON, "mosec": Encoding.MOSEC}),
        Scenario(
            name="binary16_c16",
            title="HTTP binary, 16 floats, 16 connections",
            measure=Measure.INFER,
            encodings=_BINARY,
            models=("simple",),
            tensors=Tensors.FLOATS_16,
            connections=16,
        ),
        Scenario(
            name="grpc16_c16",
            title="gRPC, 16 floats, 16 connections",
            measure=Measure.INFER,
            encodings=_GRPC,
            models=("simple",),
            tensors=Tensors.FLOATS_16,
            connections=16,
        ),
        Scenario(
            name="live_c16",
            title="health/live, 16 connections",
            measure=Measure.LIVE,
            encodings=_NO_BODY,
            connections=16,
        ),
        _digits(1),
        _digits(16),
        _digits_batched(16),
        _digits(64),
        _digits_batched(64),
        _large("binary1m", Tensors.FLOATS_1_MIB, 1),
        _large("binary1m", Tensors.FLOATS_1_MIB, 4),
        _large("binary16m", Tensors.FLOATS_16_MIB, 1),
        _large("binary16m", Tensors.FLOATS_16_MIB, 4, _LARGEST_AT_ONCE),
        _call(1),
        _call(16),
        _scheduled("sleep_c32", "sleeper", "a model that sleeps 2 ms", connections=32),
        _scheduled(
            "sleep_batched_c32", "sleeper_batched", "the same with dynamic batching", connections=32
        ),
        _scheduled("lone_unbatched", "unbatched", "a lone request", connections=1),
        _scheduled("lone_no_delay", "no_delay", "the same, batching without delay", connections=1),
        _scheduled("batched_c16", "no_delay", "batching without delay", connections=16),
        _scheduled("sequence_c16", "sequenced", "128 sequences", connections=16, sequences=128),
        _scheduled("spin_1", "spinner", "pure Python, 1 instance", connections=8),
        _scheduled("spin_2", "spinner", "pure Python, 2 instances", connections=8, instances=2),
        Scenario(
            name="load_ready",
            title="load call to READY, trivial model",
            measure=Measure.LOAD,
            encodings=_NO_BODY,
            models=("simple",),
            repeats=5,
        ),
        Scenario(
            name="reload_1000",
            title="as open_1000, while the model is reloaded with changed code, twice a second",
            measure=Measure.RELOAD,
            encodings=_PAIR,
            models=("simple",),
            tensors=Tensors.FLOATS_16,
            connections=32,
            rate=1000,
            least_seconds=5,
        ),
        Scenario(
            name="kill_worker",
            title="200 requests/s over 8 connections; the model's process is killed after 1 s",
            measure=Measure.KILL,
            encodings=_PAIR,
            models=("simple",),
            tensors=Tensors.FLOATS_16,
            connections=8,
            rate=200,
            least_seconds=5,
        ),
        Scenario(
            name="unload",
            title="unload call to UNAVAILABLE, trivial model",
            measure=Measure.UNLOAD,
            encodings=_NO_BODY,
            models=("simple",),
            repeats=5,
        ),
        Scenario(
            name="index_1000",
            title="index of 1,000 trivial models, none loaded, 1 connection",
            measure=Measure.INDEX,
            encodings=_NO_BODY,
            models=("simple",),
            copies=1000,
        ),
        Scenario(
            name="cold_start",
            title="cold start to ready, empty repository",
            measure=Measure.START,
            encodings=_NO_BODY,
            repeats=3,
        ),
        Scenario(
            name="start_100",
            title="start with 100 trivial models, to all ready",
            measure=Measure.START,
            encodings=_NO_BODY,
            models=("simple",),
            copies=100,
        ),
    )
}
