"""The metrics of the peers and of mpserve after the same requests, but for what is listed."""

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

import grpc
import msgspec
import pytest

from bench.peers.mlserver import MLServer
from bench.peers.peer import Control, Launch, Site
from bench.peers.triton import Triton
from tests.differential import mlserver_suite, triton_suite
from tests.differential.cases import GrpcCase, HttpCase, StreamCase
from tests.differential.comparison import check
from tests.differential.metric_differences import MLSERVER_DIFFERENCES, TRITON_DIFFERENCES
from tests.differential.peers import Pair, ask_grpc, ask_http, ask_stream, running
from tests.fixtures.compatibility.metrics import METRICS, MLSERVER, TRITON
from tests.fixtures.grpc_calls import MLSERVER as MLSERVER_MESSAGES
from tests.fixtures.grpc_calls import Calls
from tests.fixtures.server import Server
from tests.fixtures.waiting import wait_until

JSON = (("Content-Type", "application/json"),)
LINE = re.compile(r"([a-zA-Z_:]+?)(_bucket|_count|_sum)?(?:\{(.*)\})? (\S+)")
LABEL = re.compile(r'(\w+)="([^"]*)"')
# Counters and counts that differ from run to run.
MOMENT = re.compile(r"_us$|^python_|^process_|_seconds_total$")


class Family(NamedTuple):
    """A family as it stands on a page.

    Attributes
    ----------
    labels
        Names, sorted, in the order of the page for each sample.
    series
        Counts of its series by their labels, where they are the same in each run.
    """

    kind: str
    labels: frozenset[tuple[str, ...]]
    series: dict[str, float]


def read(text: str) -> dict[str, Family]:
    """Return the families of a page that have samples."""
    kinds = dict(line.split(" ")[2:4] for line in text.splitlines() if line.startswith("# TYPE"))
    found: dict[str, Family] = {}
    for line in text.splitlines():
        match = None if line.startswith("#") else LINE.fullmatch(line)
        if match is None:
            continue
        name, suffix = match[1], match[2] or ""
        if name not in kinds:
            name, suffix = name + suffix, ""
        kind = kinds[name]
        pairs = LABEL.findall(match[3] or "")
        family = found.setdefault(name, Family(kind, frozenset(), {}))
        labels = family.labels | {tuple(label for label, _ in pairs)}
        is_count = kind == "counter" or suffix == "_count"
        if is_count and not MOMENT.search(name):
            family.series[f"{suffix}{dict(sorted(pairs))}"] = float(match[4])
        found[name] = family._replace(labels=labels)
    return found


def text_of(pair: Pair) -> str:
    text: str = ask_http(pair.metrics_port, HttpCase("metrics", "GET", "/metrics")).content.decode()
    return text


def compared(theirs: Pair, own: Pair) -> tuple[dict[str, tuple[object, object]], set[str]]:
    """Return what differs, by name of the family, and all names."""
    first, second = read(text_of(theirs)), read(text_of(own))
    names = {*first, *(name for name in second if not name.startswith("mpserve_"))}
    return {
        name: (first.get(name), second.get(name))
        for name in sorted(names)
        if first.get(name) != second.get(name)
    }, names


# --- Triton ---------------------------------------------------------------------------------------


QUANTILES = "--metrics-config=summary_latencies=true"


def with_metrics(launch: Launch, site: Site) -> Launch:
    """Turn the metrics of a Triton on."""
    argv = (one for one in launch.argv if one != "--allow-metrics=false")
    return msgspec.structs.replace(launch, argv=(*argv, f"--metrics-port={site.metrics_port}"))


@pytest.fixture(scope="module")
def tritons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pair, Pair]]:
    folder = tmp_path_factory.mktemp("metrics")
    first, second = (triton_suite.write_models(folder / name) for name in ("theirs", "ours"))
    flags = ("--load-model=*", QUANTILES)
    with (
        running(
            Triton(), first, folder, control=Control.EXPLICIT, more=flags, adapt=with_metrics
        ) as theirs,
        Server.serve(
            second, flags=["--model-control-mode=explicit", *flags], log_path=folder / "ours.log"
        ) as server,
    ):
        yield theirs, Pair(server.port, server.grpc_port, server.metrics_port)


def ask_triton(pair: Pair) -> None:
    def tensor(name, datatype, shape, data):
        return {"inputs": [{"name": name, "datatype": datatype, "shape": shape, "data": data}]}

    for rows in (1, 2):
        body = json.dumps(tensor("INPUT0", "FP32", [rows, 4], [1.0] * 4 * rows)).encode()
        ask_http(pair.http_port, HttpCase("m", "POST", "/v2/models/m/infer", body, JSON))
    bad = json.dumps(tensor("NOBODY", "FP32", [1], [1.0])).encode()
    ask_http(pair.http_port, HttpCase("bad", "POST", "/v2/models/m/infer", bad, JSON))
    count = {"name": "COUNT", "shape": [1], "datatype": "INT32",
             "contents": {"int_contents": [3]}}  # fmt: skip
    with grpc.insecure_channel(f"127.0.0.1:{pair.grpc_port}") as channel:
        calls = Calls(channel)
        request = calls.message("ModelInferRequest", model_name="several", inputs=[count])
        assert len(list(calls.stream(iter([request])))) == 3
    success = 'nv_inference_request_success{model="several",version="1"} 1'
    wait_until(
        lambda: success in text_of(pair),
        what="the stream to be counted",  # which the peer does after its end
    )


def test_the_metrics_of_triton_are_ours(tritons):
    for pair in tritons:
        ask_triton(pair)
    found, names = compared(*tritons)
    check(found, names, "metrics of Triton", TRITON_DIFFERENCES)
    assert not names - {metric.name for metric in METRICS[TRITON]}


# --- MLServer -------------------------------------------------------------------------------------


def with_page(launch: Launch, site: Site) -> Launch:
    """Turn the metrics of an MLServer on."""
    path = site.repository / "settings.json"
    page = {"metrics_endpoint": "/metrics", "metrics_port": site.metrics_port}
    path.write_text(json.dumps({**json.loads(path.read_text()), **page}))
    return launch


@pytest.fixture(scope="module")
def mlservers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pair, Pair]]:
    folder = tmp_path_factory.mktemp("metrics")
    first, second = (mlserver_suite.write_models(folder / name) for name in ("theirs", "ours"))
    peer = MLServer(parallel_workers=0)
    with (
        running(peer, first, folder, control=Control.ALL, adapt=with_page) as theirs,
        Server.start(second, log_path=folder / "ours.log") as server,
    ):
        yield theirs, Pair(server.port, server.grpc_port, server.metrics_port)


def ask_mlserver(pair: Pair) -> None:
    tensor = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]}
    one = json.dumps({"inputs": [tensor]}).encode()
    for method, path, body in (
        ("GET", "/v2", None),
        ("GET", "/v2/health/ready", None),
        ("GET", "/nowhere", None),
        ("GET", "/v2/models/echo", None),
        ("GET", "/v2/models/nobody", None),
        ("GET", "/v2/models/versioned/versions/v1/ready", None),
        ("GET", "/v2/models/echo/infer", None),
        ("POST", "/v2/models/echo/infer", one),
        ("POST", "/v2/models/versioned/versions/v1/infer", one),
        ("POST", "/v2/models/echo/generate", one),
        ("POST", "/v2/models/nobody/infer", one),
        ("POST", "/v2/models/echo/infer", b"{}"),
        ("POST", "/v2/models/echo/infer", b"{"),
        ("POST", "/v2/repository/index", b"{}"),
        ("GET", "/v2/docs", None),
    ):
        ask_http(pair.http_port, HttpCase(path, method, path, body, JSON))
    typed = {"name": "x", "shape": [2], "datatype": "FP32", "contents": {"fp32_contents": [1, 2]}}
    with grpc.insecure_channel(f"127.0.0.1:{pair.grpc_port}") as channel:
        calls = Calls(channel, MLSERVER_MESSAGES)
        for method, fields in (
            ("ServerLive", {}),
            ("ModelReady", {"name": "echo"}),
            ("ModelMetadata", {"name": "nobody"}),
            ("ModelInfer", {"model_name": "versioned", "model_version": "v1", "inputs": [typed]}),
        ):
            ask_grpc(calls, GrpcCase(method, method, fields))
        texts = {"name": "x", "shape": [1], "datatype": "BYTES",
                 "contents": {"bytes_contents": [b"a b"]}}  # fmt: skip
        ask_stream(calls, StreamCase("texts", ({"model_name": "texts", "inputs": [texts]},)))


def test_the_metrics_of_mlserver_are_ours(mlservers):
    for pair in mlservers:
        ask_mlserver(pair)
    found, names = compared(*mlservers)
    check(found, names, "metrics of MLServer", MLSERVER_DIFFERENCES)
    assert not names - {metric.name for metric in METRICS[MLSERVER]}
