"""The page about the peers' wire says what the code does, and leaves nothing out."""

from pathlib import Path

import pytest

from mpserve.frontend.http.routes import ROUTES
from tests.fixtures.compatibility import (
    MLSERVER,
    MLSERVER_ROUTES,
    TRITON,
    TRITON_ROUTES,
    methods,
    page,
    serves_route,
)

PAGE = Path(__file__).parents[2] / "docs" / "compatibility" / "wire.md"
OWN_ENDPOINTS = {"events"}  # mpserve's extensions


def test_the_page_is_up_to_date():
    assert PAGE.read_text() == page(), "run `make docs`"


@pytest.mark.parametrize(
    ("dialect", "route"),
    [(TRITON, route) for route in TRITON_ROUTES] + [(MLSERVER, route) for route in MLSERVER_ROUTES],
    ids=lambda value: getattr(value, "path", getattr(value, "value", "")),
)
def test_every_route_of_the_peers_is_served(dialect, route):
    assert serves_route(dialect, route)


@pytest.mark.parametrize("dialect", [TRITON, MLSERVER])
def test_every_rpc_of_the_peers_is_served(dialect):
    assert [name for name, is_served in methods(dialect).items() if not is_served] == []


@pytest.mark.parametrize(
    ("dialect", "listed"), [(TRITON, TRITON_ROUTES), (MLSERVER, MLSERVER_ROUTES)]
)
def test_every_route_that_is_served_is_listed(dialect, listed):
    table = ROUTES[dialect]
    found = {table.match(route.path.encode()).endpoint for route in listed}
    served = {route.endpoint for route in table.routes}
    assert {endpoint.value for endpoint in served - found} == OWN_ENDPOINTS
