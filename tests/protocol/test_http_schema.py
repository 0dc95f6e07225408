"""Requests that schemathesis makes from our OpenAPI documents are answered as these promise."""

import os
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.fixtures.pace import within
from tests.fixtures.server import Server

EXAMPLES = 500 if os.environ.get("MPSERVE_TEST_FULL") else 8
SECONDS = within(20)
PATHS = (
    "/openapi.json",
    "/v2/docs/dataplane.json",
    "/v2/docs/model_repository.json",
    "/v2/models/echo/docs/dataplane.json",
)


def no_crash_of_ours(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> None:
    """Whatever fails with 5xx is the model: it wants an input, which the document can not say."""
    if response.status_code >= 500:
        assert "IndexError: list index out of range" in response.text


CHECKS = (
    no_crash_of_ours,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)


def operations(document: dict[str, Any]) -> list[schemathesis.APIOperation]:
    """Return every operation; one that schemathesis can not read fails."""
    schema = schemathesis.openapi.from_dict(document)
    return [one.ok() for one in schema.get_all_operations()]


@pytest.mark.parametrize("path", PATHS)
def test_the_document_is_openapi(mlserver: Server, path: str):
    schemathesis.openapi.from_dict(mlserver.get(path).json()).validate()


@pytest.mark.parametrize("path", PATHS)
def test_made_requests_are_answered_as_the_document_says(mlserver: Server, path: str):
    found = operations(mlserver.get(path).json())
    assert len(found) >= 3
    for operation in found:

        @settings(
            max_examples=EXAMPLES, deadline=None, database=None,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.as_strategy())
        def ask(case: schemathesis.Case) -> None:
            case.call_and_validate(base_url=mlserver.url, checks=CHECKS, timeout=SECONDS)

        ask()
