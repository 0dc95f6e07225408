"""The query of the events route."""

import pytest

from mpserve.errors import InvalidRequest
from mpserve.frontend.http.event_query import EventQuery, read_event_query


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        pytest.param(b"", EventQuery(), id="nothing"),
        pytest.param(b"?model=a%20b", EventQuery(model="a b"), id="a model"),
        pytest.param(b"?since=17", EventQuery(since=17), id="a number"),
        pytest.param(b"?since=1&model=m&since=2", EventQuery(model="m", since=2), id="the last"),
    ],
)
def test_a_query_is_read(query, wanted):
    assert read_event_query(b"/v2/repository/events" + query) == wanted


@pytest.mark.parametrize(
    "query", [b"?since=", b"?since=-1", b"?since=x", b"?since=" + b"9" * 19, b"?models=a", b"?x="]
)
def test_a_query_that_makes_no_sense_is_refused(query):
    with pytest.raises(InvalidRequest):
        read_event_query(b"/v2/repository/events" + query)
