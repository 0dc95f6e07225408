"""`--metrics-config`: summaries of latencies, and the histogram of first responses."""

import math

import pytest

from tests.fixtures.waiting import wait_until
from tests.protocol.models import IDENTITY, tensors, write_triton
from tests.protocol.test_metrics import EXPLICIT
from tests.protocol.test_response_statistics import STREAM

PARTS = ("request", "queue", "compute_input", "compute_infer", "compute_output")
FIRST = "nv_inference_first_response_histogram_ms"
BUCKETS = f"""
model_metrics {{
  metric_control: [ {{
    metric_identifier {{ family: "{FIRST}" }}
    histogram_options {{ buckets: [ -1, 0.5, 1000 ] }}
  }} ]
}}
"""


@pytest.fixture
def models(tmp_path):
    root = tmp_path / "models"
    write_triton(
        root / "a",
        source=IDENTITY,
        config='metric_tags { key: "team" value: "x" }\n'
        + tensors("input", ("IN", "TYPE_FP32", [1]))
        + tensors("output", ("OUT", "TYPE_FP32", [1])),
    )
    for name, more in (("stream", ""), ("own", BUCKETS)):
        write_triton(
            root / name,
            source=STREAM,
            config="model_transaction_policy { decoupled: true }\n"
            + more
            + tensors("input", ("N", "TYPE_INT32", [1]))
            + tensors("output", ("OUT", "TYPE_INT32", [1])),
        )
    step = 'input_map { key: "N" value: "N" } output_map { key: "OUT" value: "OUT" }'
    (root / "e" / "1").mkdir(parents=True)
    (root / "e" / "config.pbtxt").write_text(
        'platform: "ensemble"\nmodel_transaction_policy { decoupled: true }\n'
        + tensors("input", ("N", "TYPE_INT32", [1]))
        + tensors("output", ("OUT", "TYPE_INT32", [1]))
        + f'ensemble_scheduling {{ step [ {{ model_name: "own" model_version: -1 {step} }} ] }}'
    )
    return root


def series(server, family):
    """Return the samples of a family: the rest of the line -> value."""
    lines = [line for line in server.metrics().splitlines() if line.startswith(family)]
    pairs = (line.removeprefix(family).rsplit(" ", 1) for line in lines)
    return {place: float(value) for place, value in pairs}


def ask(server, *, model="a"):
    body = {"inputs": [{"name": "IN", "shape": [1], "datatype": "FP32", "data": [1]}]}
    assert server.infer(model, body).status == 200


def stream(server, model, count):
    answer = server.post(f"/v2/models/{model}/generate_stream", {"N": count})
    assert answer.status == 200, answer


def test_summaries_tell_quantiles_of_each_part(serve, models):
    flags = (
        "--metrics-config=summary_latencies=true",
        "--metrics-config=summary_quantiles=0.5:0.05,1:0",
    )
    server = serve(models, flags=(*EXPLICIT, *flags))
    labels = '_team="x",model="a",version="1"'
    before = series(server, "nv_inference_request_summary_us")
    assert before[f"_count{{{labels}}}"] == 0
    assert math.isnan(before[f'{{{labels},quantile="0.5"}}'])
    for _ in range(3):
        ask(server)
    request_count = f"_count{{{labels}}}"
    wait_until(
        lambda: series(server, "nv_inference_request_summary_us")[request_count] == 3,
        what="three requests to be counted",
    )
    page = server.metrics()
    for part in PARTS:
        found = series(server, f"nv_inference_{part}_summary_us")
        assert f"# TYPE nv_inference_{part}_summary_us summary" in page
        assert found[f"_count{{{labels}}}"] == 3
        low, high = (found[f'{{{labels},quantile="{number}"}}'] for number in ("0.5", "1"))
        assert 0 <= low <= high
        assert high <= 1.02 * found[f"_sum{{{labels}}}"] + 1
    assert series(server, "nv_inference_request_summary_us")[f"_sum{{{labels}}}"] > 0
    assert server.load("a").status == 200
    ask(server)
    wait_until(
        lambda: series(server, "nv_inference_request_summary_us")[request_count] == 4,
        what="the fourth one to be counted",
    )
    assert FIRST not in page


def test_first_responses_of_decoupled_models_are_counted_in_buckets(serve, models):
    flags = ("--metrics-config=histogram_latencies=true",)
    server = serve(models, flags=(*EXPLICIT, *flags))
    ask(server)
    stream(server, "stream", 2)
    stream(server, "stream", 0)  # no response is no first response
    stream(server, "own", 1)
    stream(server, "own", -1)  # the error is the second
    wait_until(
        lambda: series(server, FIRST).get('_count{model="own",version="1"}') == 2,
        what="the last two to be counted",
    )
    found = series(server, FIRST)
    assert not [place for place in found if 'model="a"' in place]
    assert found['_count{model="stream",version="1"}'] == 1
    bounds = [
        place.partition('le="')[2].removesuffix('"}')
        for place in found
        if place.startswith('_bucket{model="stream"')
    ]
    assert bounds == ["100", "500", "2000", "5000", "+Inf"]
    own = [
        (place.partition('le="')[2].removesuffix('"}'), value)
        for place, value in found.items()
        if place.startswith('_bucket{model="own"')
    ]
    assert [bound for bound, _ in own] == ["-1", "0.5", "1000", "+Inf"]
    assert (own[0][1], own[-1][1]) == (0, 2)
    assert "summary_us" not in server.metrics()


def test_first_responses_of_a_decoupled_ensemble_are_counted_for_it_and_for_its_step(serve, models):
    server = serve(models, flags=(*EXPLICIT, "--metrics-config=histogram_latencies=true"))
    for count in (2, 0, -1):  # no response is no first response, an error is one
        stream(server, "e", count)
    for name in ("e", "own"):
        count = f'_count{{model="{name}",version="1"}}'
        wait_until(lambda count=count: series(server, FIRST)[count] == 2, what=count)
    found = series(server, FIRST)
    assert found['_sum{model="e",version="1"}'] >= found['_sum{model="own",version="1"}']


def test_without_a_word_neither_is_there(serve, models):
    server = serve(models, flags=EXPLICIT)
    ask(server)
    assert "summary_us" not in server.metrics()
    assert FIRST not in server.metrics()
