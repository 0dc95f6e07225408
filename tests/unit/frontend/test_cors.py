"""Which headers pages of other origins are told."""

import pytest

from mpserve.frontend.http.body import HttpRequest
from mpserve.frontend.http.cors import Cors
from mpserve.settings import CorsSettings
from tests.unit.frontend.exchanges import RecordedExchange

PAGE = "https://page.example"
ORIGIN = b"Access-Control-Allow-Origin"
METHODS = b"Access-Control-Allow-Methods"
HEADERS = b"Access-Control-Allow-Headers"
CREDENTIALS = b"Access-Control-Allow-Credentials"


def told(settings: CorsSettings, **headers: str) -> dict[bytes, bytes]:
    return dict(Cors(settings).headers(request(**headers)))


def request(**headers: str) -> HttpRequest:
    fields = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    return HttpRequest(RecordedExchange("GET", "/v2", b"", fields), max_body_bytes=10)


def asked(settings: CorsSettings, **headers: str):
    return Cors(settings).preflight(
        "OPTIONS", request(**{"origin": PAGE, "access_control_request_method": "GET", **headers})
    )


def test_a_request_that_no_page_sent_is_told_nothing():
    assert told(CorsSettings(allow_origins=("*",))) == {}


@pytest.mark.parametrize(
    ("settings", "headers", "expected"),
    [
        ({"allow_origins": ("*",)}, {}, {ORIGIN: b"*"}),
        ({"allow_origins": ("*",)}, {"cookie": "a=b"}, {ORIGIN: PAGE.encode(), b"Vary": b"Origin"}),
        ({"allow_origins": (PAGE,)}, {}, {ORIGIN: PAGE.encode(), b"Vary": b"Origin"}),
        ({"allow_origin_regex": r"https://.*\.example"}, {},
         {ORIGIN: PAGE.encode(), b"Vary": b"Origin"}),
        ({"allow_origin_regex": r"https://page"}, {}, {}),
        ({"allow_origins": ("https://other.example",)}, {}, {}),
        ({"allow_origins": ("*",), "expose_headers": ("Ce-Id", "B")}, {},
         {ORIGIN: b"*", b"Access-Control-Expose-Headers": b"Ce-Id, B"}),
        ({"allow_origins": (PAGE,), "allow_credentials": True}, {},
         {ORIGIN: PAGE.encode(), b"Vary": b"Origin", CREDENTIALS: b"true"}),
    ],
)  # fmt: skip
def test_an_answer_names_the_origin_that_may_read_it(settings, headers, expected):
    assert told(CorsSettings(**settings), origin=PAGE, **headers) == expected


def test_a_preflight_is_told_what_it_may():
    answer = asked(CorsSettings(allow_origins=(PAGE,), allow_headers=("X-Key",), max_age=7))
    assert (answer.status, answer.body) == (200, (b"OK",))
    assert dict(answer.headers) == {
        b"Vary": b"Origin",
        ORIGIN: PAGE.encode(),
        METHODS: b"GET",
        HEADERS: b"Accept, Accept-Language, Content-Language, Content-Type, X-Key",
        b"Access-Control-Max-Age": b"7",
    }


def test_whatever_may_be_sent_is_named_as_it_was_asked_for():
    settings = CorsSettings(allow_origins=("*",), allow_methods=("*",), allow_headers=("*",))
    answer = asked(
        settings, access_control_request_method="PUT", access_control_request_headers="X-A, x-b"
    )
    headers = dict(answer.headers)
    assert answer.status == 200
    assert headers[ORIGIN] == b"*"
    assert headers[HEADERS] == b"X-A, x-b"
    assert headers[METHODS] == b"DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"


@pytest.mark.parametrize(
    ("settings", "headers", "text"),
    [
        ({}, {}, b"Disallowed CORS origin"),
        ({"allow_origins": ("*",)}, {"access_control_request_method": "POST"},
         b"Disallowed CORS method"),
        ({"allow_origins": ("*",)}, {"access_control_request_headers": "accept, x-a"},
         b"Disallowed CORS headers"),
        ({}, {"access_control_request_method": "PUT", "access_control_request_headers": "x"},
         b"Disallowed CORS origin, method, headers"),
    ],
)  # fmt: skip
def test_a_preflight_is_told_what_is_not_allowed(settings, headers, text):
    answer = asked(CorsSettings(**settings), **headers)
    assert (answer.status, answer.body) == (400, (text,))
    assert ORIGIN not in dict(answer.headers) or settings


def test_other_requests_are_no_preflights():
    cors = Cors(CorsSettings(allow_origins=("*",)))
    assert cors.preflight("OPTIONS", request(origin=PAGE)) is None
    assert cors.preflight("GET", request(origin=PAGE, access_control_request_method="GET")) is None
    assert cors.preflight("OPTIONS", request(access_control_request_method="GET")) is None
