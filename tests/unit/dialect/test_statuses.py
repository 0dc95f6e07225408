"""The error table has no hole and says what the peers say."""

import pytest

from mpserve.dialect import DIALECTS, DialectName, Operation, TransportFault
from mpserve.errors import ErrorCode

FAILURES = [code for code in ErrorCode if code is not ErrorCode.OK]


@pytest.mark.parametrize("name", list(DialectName))
@pytest.mark.parametrize("code", FAILURES)
def test_every_code_has_a_status_in_every_dialect(name, code):
    row = DIALECTS[name].general[code]
    assert 400 <= row.http <= 599
    assert row.grpc != 0


@pytest.mark.parametrize("name", list(DialectName))
@pytest.mark.parametrize("fault", list(TransportFault))
def test_every_transport_fault_has_a_status_in_every_dialect(name, fault):
    assert 400 <= DIALECTS[name].transport[fault].http <= 599


@pytest.mark.parametrize("name", list(DialectName))
def test_success_has_no_row_in_the_error_table(name):
    assert ErrorCode.OK not in DIALECTS[name].general


TRITON_INFER = {
    ErrorCode.UNKNOWN: (400, 2),
    ErrorCode.INTERNAL: (500, 13),
    ErrorCode.INVALID_ARGUMENT: (400, 3),
    ErrorCode.NOT_FOUND: (404, 5),
    ErrorCode.NOT_READY: (503, 14),
    ErrorCode.UNAVAILABLE: (503, 14),
    ErrorCode.UNSUPPORTED: (501, 12),
    ErrorCode.ALREADY_EXISTS: (400, 6),
    ErrorCode.CANCELLED: (400, 1),
    ErrorCode.MODEL_FAILED: (500, 13),
    ErrorCode.MALFORMED: (500, 13),
}


@pytest.mark.parametrize(("code", "expected"), TRITON_INFER.items())
def test_triton_answers_an_inference_with_its_own_status(code, expected):
    row = DIALECTS[DialectName.TRITON].status(code, operation=Operation.INFER)
    assert (row.http, row.grpc) == expected


@pytest.mark.parametrize(
    ("name", "operation", "code", "http"),
    [
        (DialectName.TRITON, Operation.LOAD, ErrorCode.NOT_FOUND, 500),
        (DialectName.TRITON, Operation.LOAD, ErrorCode.LOAD_FAILED, 400),
        (DialectName.TRITON, Operation.LOAD, ErrorCode.UNAVAILABLE, 503),
        (DialectName.TRITON, Operation.MODEL_READY, ErrorCode.NOT_FOUND, 400),
        (DialectName.TRITON, Operation.MODEL_READY, ErrorCode.NOT_READY, 400),
        (DialectName.TRITON, Operation.MODEL_METADATA, ErrorCode.NOT_FOUND, 404),
        (DialectName.MLSERVER, Operation.LOAD, ErrorCode.NOT_FOUND, 404),
        (DialectName.MLSERVER, Operation.LOAD, ErrorCode.LOAD_FAILED, 500),
        (DialectName.MLSERVER, Operation.UNLOAD, ErrorCode.NOT_FOUND, 404),
        (DialectName.MLSERVER, Operation.INFER, ErrorCode.NOT_READY, 404),
        (DialectName.MLSERVER, Operation.INFER, ErrorCode.MALFORMED, 422),
    ],
)
def test_an_operation_has_the_peers_status(name, operation, code, http):
    assert DIALECTS[name].status(code, operation=operation).http == http


def test_a_triton_model_that_is_not_ready_is_told_in_tritons_words():
    row = DIALECTS[DialectName.TRITON].status(ErrorCode.NOT_FOUND, operation=Operation.MODEL_READY)
    assert row.fixed_message == "Model version not ready"
    assert row.content_type == "text/plain"
