"""The pages about compatibility say what the code does, and leave nothing out."""

import re
from pathlib import Path

import msgspec
import pytest
from tritonclient.grpc import service_pb2

from mpserve.frontend.http.routes import ROUTES
from tests.fixtures.compatibility import configuration, documents, messages, model_settings
from tests.fixtures.compatibility.headers import HEADERS
from tests.fixtures.compatibility.pages import PAGES
from tests.fixtures.compatibility.wire import (
    MLSERVER,
    MLSERVER_ROUTES,
    TRITON,
    TRITON_ROUTES,
    methods,
    serves_route,
)

ROOT = Path(__file__).parents[2]
OWN_ENDPOINTS = {"events"}  # mpserve's extensions


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_up_to_date(name):
    text = (ROOT / "docs" / "compatibility" / name).read_text()
    assert text == PAGES[name](), "run `make docs`"


# --- routes and rpcs ----------------------------------------------------------------------------


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
    served_here = {route.endpoint for route in table.routes}
    assert {endpoint.value for endpoint in served_here - found} == OWN_ENDPOINTS


# --- messages -----------------------------------------------------------------------------------


def test_messages_of_triton_have_the_fields_of_its_client():
    ours = messages.inference_schema(TRITON)
    for name, message in service_pb2.DESCRIPTOR.message_types_by_name.items():
        found = ours.descriptor(f"inference.{name}")
        assert _numbers(found) == _numbers(message), name


def _numbers(message):
    nested = {one.name: _numbers(one) for one in message.nested_types}
    return {field.name: (field.number, field.type) for field in message.fields}, nested


@pytest.mark.parametrize("dialect", [TRITON, MLSERVER])
def test_every_field_of_a_message_is_served_or_has_a_reason(dialect):
    assert [cell.name for cell in messages.cells(dialect) if cell.told == "no"] == []


def test_fields_that_are_told_to_be_out_of_use_are_there():
    for dialect, field in (*messages.REMARKS, *messages.NOT_SERVED):
        schema = messages.inference_schema(dialect)
        assert field in messages.fields(schema, messages.INFERENCE_SERVICE)


# --- configuration ------------------------------------------------------------------------------


def test_every_field_of_a_configuration_acts_or_has_a_reason():
    assert len(configuration.outcomes()) > 150  # raises where nothing is known


@pytest.mark.parametrize("table", ["READ_BY", "REMARKS", "REFUSALS", "HELD"])
def test_what_is_said_of_fields_is_said_of_fields_that_are_there(table):
    assert set(getattr(configuration, table)) <= set(configuration.fields())


@pytest.mark.parametrize("field", configuration.READ_BY)
def test_a_module_that_reads_a_field_mentions_it(field):
    module = (configuration.SOURCE / configuration.READ_BY[field]).read_text()
    assert re.search(rf"\b{field.rpartition('.')[2]}\b", module)


@pytest.mark.parametrize("name", [*configuration.CARRIED, *configuration.HELD])
def test_what_is_said_to_change_nothing_changes_nothing(name):
    ways = [
        way
        for field, found in configuration.fields().items()
        if field.startswith(name)
        for way in found
    ]
    assert ways
    assert not any(configuration.acts(way) for way in ways)


@pytest.mark.parametrize("name", [*configuration.REFUSED.values(), *configuration.REFUSALS])
def test_what_is_said_to_be_refused_is_refused(name):
    ways = configuration.fields()[name]
    assert name in configuration.READ_BY or any(configuration.refuses(way) for way in ways)


@pytest.mark.parametrize("struct", model_settings.FIELDS, ids=lambda one: one.__name__)
def test_every_field_of_model_settings_is_listed(struct):
    assert set(model_settings.FIELDS[struct]) == {
        one.name for one in msgspec.structs.fields(struct)
    }


def test_the_model_sees_what_only_the_model_reads():
    from mpserve.compat.mlserver import settings  # noqa: PLC0415  # only here

    for ours, theirs in (
        (model_settings.ModelSettings, settings.ModelSettings),
        (model_settings.ModelParameters, settings.ModelParameters),
    ):
        names = {one.name for one in msgspec.structs.fields(ours)} - {"implementation"}
        assert names <= set(theirs.__annotations__)


# --- JSON ---------------------------------------------------------------------------------------


def test_members_and_headers_are_shown_by_tests_that_are_there():
    members = [one for found in documents.REQUESTS.values() for one in found]
    for row in (*members, *HEADERS):
        path, _, name = row.test.partition("::")
        assert re.search(rf"^def {name}\(", (ROOT / path).read_text(), re.MULTILINE), row
