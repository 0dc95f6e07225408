"""MLServer's metrics of its wires, out of what frontends counted."""

import pytest

from mpserve.telemetry.traffic import (
    BOUNDS,
    AnswerCounts,
    AreaCounts,
    PlaceCounts,
    TrafficKind,
    traffic_families,
)

BUCKETS = len(BOUNDS) + 1
INFER = "/v2/models/{model_name}/infer"
MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"


def buckets(**counts):
    """Return counts by the index of their bucket: `buckets(b0=1)`."""
    return tuple(counts.get(f"b{index}", 0) for index in range(BUCKETS))


def area(*answers, places=(), in_progress=(), in_flight=(), in_flight_sum=0):
    kinds = dict(in_progress)
    return AreaCounts(
        in_progress=tuple(kinds.get(kind, 0) for kind in TrafficKind),
        in_flight_sum=in_flight_sum,
        in_flight=in_flight or buckets(),
        places=tuple(places),
        answers=tuple(answers),
    )


def answer(place, kind, status, sum_ns, **counts):
    return AnswerCounts(
        place=place, kind=kind, status=status, sum_ns=sum_ns, buckets=buckets(**counts)
    )


def told(*areas, prefix="rest_server"):
    """Return `name{labels}` -> value of all samples but empty buckets."""
    found = {}
    for family in traffic_families(areas, prefix=prefix):
        for sample in family.samples:
            texts = dict(sample.labels)
            if sample.place is not None:
                texts[sample.place.label] = str(sample.place.number)
            labels = ",".join(f"{name}={texts[name]}" for name in sorted(texts))
            found[f"{family.name}{sample.suffix}{{{labels}}}"] = sample.value
    return found


FIRST = area(
    answer(0, TrafficKind.POST, 200, 4_000_000, b0=2),
    answer(0, TrafficKind.POST, 404, 1_000_000, b0=1),
    answer(1, TrafficKind.UNARY, 0, 30_000_000, b0=1, b2=1),
    answer(1, TrafficKind.UNARY, 5, 1_000_000, b0=1),
    answer(2, TrafficKind.BIDI_STREAMING, 0, 9_000_000_000, b13=1),
    places=(
        PlaceCounts(kind=TrafficKind.GET, text=INFER),
        PlaceCounts(kind=TrafficKind.UNARY, text=MODEL_INFER, started=3),
        PlaceCounts(kind=TrafficKind.BIDI_STREAMING, text=STREAM, started=2, received=5, sent=4),
    ),
    in_progress={TrafficKind.POST: 2}.items(),
    in_flight=buckets(b9=2, b14=1),
    in_flight_sum=14,
)
SECOND = area(  # the same places, met in another order
    answer(1, TrafficKind.POST, 200, 12_000_000_000, b14=1),
    answer(0, TrafficKind.UNARY, 0, 1_000_000, b0=1),
    places=(
        PlaceCounts(kind=TrafficKind.UNARY, text=MODEL_INFER, started=2),
        PlaceCounts(kind=TrafficKind.GET, text=INFER),
    ),
    in_progress={TrafficKind.POST: 1}.items(),
)
CALL = "grpc_method=ModelInfer,grpc_service=inference.GRPCInferenceService,grpc_type=UNARY"
STREAM_CALL = (
    "grpc_method=ModelStreamInfer,grpc_service=inference.GRPCInferenceService,"
    "grpc_type=BIDI_STREAMING"
)
OK = f"app_name=mlserver,method=POST,path={INFER},status_code=200"
OK_WITHIN_10 = OK.replace("method", "le=10.0,method")


@pytest.mark.parametrize(
    ("series", "value"),
    [
        (f"rest_server_requests_total{{{OK}}}", 3),
        (f"rest_server_requests_total{{{OK.replace('200', '404')}}}", 1),
        (f"rest_server_request_duration_seconds_count{{{OK}}}", 3),
        (f"rest_server_request_duration_seconds_sum{{{OK}}}", 12.004),
        (f"rest_server_request_duration_seconds_bucket{{{OK_WITHIN_10}}}", 2),
        ("rest_server_requests_in_progress{app_name=mlserver,method=POST}", 3),
        (f"grpc_server_started_total{{{CALL}}}", 5),
        (f"grpc_server_started_total{{{STREAM_CALL}}}", 2),
        (f"grpc_server_handled_total{{grpc_code=OK,{CALL}}}", 3),
        (f"grpc_server_handled_total{{grpc_code=NOT_FOUND,{CALL}}}", 1),
        (f"grpc_server_handled_total{{grpc_code=OK,{STREAM_CALL}}}", 1),
        (f"grpc_server_msg_received_total{{{STREAM_CALL}}}", 5),
        (f"grpc_server_msg_sent_total{{{STREAM_CALL}}}", 4),
        (f"grpc_server_handling_seconds_count{{{CALL}}}", 4),
        (f"grpc_server_handling_seconds_sum{{{CALL}}}", 0.032),
        (f"grpc_server_handling_seconds_bucket{{{CALL},le=0.01}}", 3),
        ("parallel_request_queue_count{}", 3),
        ("parallel_request_queue_sum{}", 14),
        ("parallel_request_queue_bucket{le=1.0}", 2),
    ],
)  # fmt: skip
def test_frontends_are_added_up(series, value):
    assert told(FIRST, SECOND)[series] == pytest.approx(value)


def test_unary_calls_have_no_messages_and_streams_no_duration():
    found = told(FIRST)
    assert f"grpc_server_msg_received_total{{{CALL}}}" not in found
    assert f"grpc_server_handling_seconds_count{{{STREAM_CALL}}}" not in found


def test_the_prefix_of_http_may_be_another():
    found = told(FIRST, prefix="api")
    assert found[f"api_requests_total{{{OK}}}"] == 2
    assert not [name for name in found if name.startswith("rest_server")]


def test_nothing_asked_is_nothing_told():
    assert told(area()) == {}
