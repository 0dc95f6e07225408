"""Error bodies in the peers' forms."""

import json

from mpserve.dialect import (
    MLSERVER,
    TRITON,
    Operation,
    TransportFault,
    error_body,
)
from mpserve.errors import ErrorCode


def test_triton_wraps_a_message_as_error():
    row = TRITON.status(ErrorCode.INVALID_ARGUMENT, operation=Operation.INFER)
    assert error_body(row, 'bad "shape"') == b'{"error":"bad \\"shape\\""}'


def test_mlserver_wraps_a_malformed_request_as_a_list_of_details():
    row = MLSERVER.status(ErrorCode.MALFORMED, operation=Operation.INFER)
    (detail,) = json.loads(error_body(row, "Field required"))["detail"]
    assert detail["msg"] == "Field required"
    assert detail["loc"][0] == "body"
    assert set(detail) == {"type", "loc", "msg", "input"}


def test_an_unknown_path_is_told_in_each_peers_form():
    fault = TransportFault.UNKNOWN_PATH
    assert error_body(TRITON.transport[fault], "/nope") == b'{"error":"Not Found"}'
    assert error_body(MLSERVER.transport[fault], "/nope") == b'{"detail":"Not Found"}'


def test_a_message_with_a_lone_surrogate_still_makes_a_body():
    row = TRITON.status(ErrorCode.INVALID_ARGUMENT, operation=Operation.INFER)
    assert json.loads(error_body(row, "got \udc80")) == {"error": "got ?"}


def test_texts_name_the_model_and_the_version():
    assert TRITON.phrases.unknown_version.format(name="m", version="2") == (
        "Request for unknown model: 'm' version 2 is not found"
    )
    assert MLSERVER.phrases.unknown_version.format(name="m", version="v9") == (
        "Model m with version v9 not found"
    )
