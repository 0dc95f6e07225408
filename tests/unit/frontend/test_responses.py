"""Answers as bytes, and errors in each dialect's form."""

import json

import pytest

from mpserve.codec.content_encoding import BodyTooLarge, UnknownEncoding
from mpserve.codec.field_fault import InvalidFields, missing
from mpserve.dialect import MLSERVER, TRITON, Operation
from mpserve.errors import InvalidRequest, ModelNotFound
from mpserve.frontend.http.responses import (
    error_response,
    health_response,
    json_response,
    protocol_error,
    whole,
)


def test_a_whole_answer_has_type_and_length():
    assert whole(json_response(b"{}")) == (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    )


def test_an_empty_content_type_is_no_header():
    assert b"Content-Type" not in whole(health_response(MLSERVER.model_ready))


@pytest.mark.parametrize(
    ("error", "operation", "dialect", "status", "content_type"),
    [
        (ModelNotFound("x"), Operation.INFER_OPENING, TRITON, 404, "text/plain"),
        (ModelNotFound("x"), Operation.MODEL_METADATA, TRITON, 404, "application/json"),
        (ModelNotFound("x"), Operation.MODEL_READY, TRITON, 400, "text/plain"),
        (ModelNotFound("x"), Operation.LOAD, TRITON, 500, "application/json"),
        (InvalidRequest("x"), Operation.INFER_OPENING, TRITON, 400, "text/plain"),
        (InvalidRequest("x"), Operation.INFER, TRITON, 400, "application/json"),
        (BodyTooLarge("x"), Operation.INFER, TRITON, 400, "application/json"),
        (BodyTooLarge("x"), Operation.INFER, MLSERVER, 413, "application/json"),
        (UnknownEncoding("x"), Operation.INFER, TRITON, 501, "text/plain"),
        (UnknownEncoding("x"), Operation.INFER, MLSERVER, 415, "application/json"),
    ],
)
def test_an_error_has_the_dialects_status(error, operation, dialect, status, content_type):
    response = error_response(error, dialect=dialect, operation=operation)
    assert (response.status, response.content_type) == (status, content_type)
    assert json.loads(response.body[0])["error"]


def test_what_can_be_read_is_told_with_an_unknown_coding():
    response = error_response(UnknownEncoding("x"), dialect=TRITON, operation=Operation.INFER)
    assert (b"Accept-Encoding", b"gzip, deflate") in response.headers


@pytest.mark.parametrize(("dialect", "member"), [(TRITON, "error"), (MLSERVER, "detail")])
def test_faults_of_fields_are_details_only_for_mlserver(dialect, member):
    error = InvalidFields(missing("body", "inputs"))
    response = error_response(error, dialect=dialect, operation=Operation.INFER)
    assert list(json.loads(response.body[0])) == [member]


@pytest.mark.parametrize(
    ("status", "told"), [(400, 400), (431, 431), (414, 431), (413, 400), (501, 501), (505, 505)]
)
def test_what_is_no_request_is_answered_in_json_and_closed(status, told):
    head, _, body = protocol_error(status, "why", dialect=TRITON).partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {told} ".encode())
    assert b"\r\nConnection: close" in head
    assert json.loads(body) == {"error": "why"}
