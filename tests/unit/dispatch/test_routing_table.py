"""Which version takes a request, and the peers' words when none does."""

import pytest

from mpserve.dialect import DIALECTS, MLSERVER, TRITON
from mpserve.dispatch.routing_table import RoutingTable
from mpserve.errors import ModelNotFound, ModelNotReady
from mpserve.model.identity import ModelName
from mpserve.model.state import ModelState
from tests.unit.dispatch.tables import model, version

LOADING, UNAVAILABLE = ModelState.LOADING, ModelState.UNAVAILABLE


def table(*models, dialect=TRITON) -> RoutingTable:
    one = RoutingTable(dialect.phrases)
    one.apply(removed=(), changed=models)
    return one


THREE = model("m", version("1"), version("2", generation=2), version("10", LOADING, generation=3))


@pytest.mark.parametrize(("asked", "found"), [("", "2"), ("1", "1"), ("2", "2")])
def test_the_highest_ready_version_is_the_default(asked, found):
    assert table(THREE).ready("m", asked).version.version == found


@pytest.mark.parametrize(
    ("name", "asked", "kind", "text"),
    [
        ("x", "", ModelNotFound, "Request for unknown model: 'x' is not found"),
        ("m", "9", ModelNotFound, "Request for unknown model: 'm' version 9 is not found"),
        ("m", "10", ModelNotReady,
         "Request for unknown model: 'm' version 10 is not at ready state"),
        ("u", "", ModelNotFound, "Request for unknown model: 'u' has no available versions"),
        ("empty", "", ModelNotFound, "Request for unknown model: 'empty' is not found"),
    ],
)  # fmt: skip
def test_triton_says_why_there_is_none(name, asked, kind, text):
    with pytest.raises(kind) as caught:
        table(THREE, model("u", version("1", UNAVAILABLE)), model("empty")).ready(name, asked)
    assert caught.value.message == text


@pytest.mark.parametrize(
    ("name", "asked", "text"),
    [("x", "", "Model x not found"), ("u", "", "Model u not found"),
     ("u", "v1", "Model u not found"), ("u", "v9", "Model u with version v9 not found")],
)  # fmt: skip
def test_mlserver_says_why_there_is_none(name, asked, text):
    with pytest.raises((ModelNotFound, ModelNotReady)) as caught:
        table(model("u", version("v1", UNAVAILABLE)), dialect=MLSERVER).ready(name, asked)
    assert caught.value.message == text


@pytest.mark.parametrize("dialect", DIALECTS.values())
def test_a_model_without_versions_is_found_by_its_name(dialect):
    assert table(model("e", version("")), dialect=dialect).ready("e", "").version.version == ""


def test_a_change_replaces_whole_models_and_a_removal_forgets_them():
    one = table(THREE)
    one.apply(removed=(), changed=(model("m", version("3", generation=7)),))
    assert one.ready_versions("m") == ("3",)
    assert one.generations() == {7}
    one.apply(removed=(ModelName("m"), ModelName("never")), changed=())
    assert one.ready_versions("m") == ()
    with pytest.raises(ModelNotFound):
        one.ready("m", "")


def test_ready_versions_are_those_that_take_requests():
    assert table(THREE).ready_versions("m") == ("1", "2")
