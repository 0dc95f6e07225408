"""Every public name of MLServer 1.7.1 that a model may import, with its parameters and fields.

`mlserver_names.txt` was printed by looking at the installed package: `module.name(parameters)`, a
parameter with a default ends in `=`; `module.Class[field]`; `module.Class.member`.
"""

import importlib
import inspect
import re
from pathlib import Path

import pytest

from mpserve.compat.mlserver.alias import supply_mlserver, withdraw_mlserver

ROWS = Path(__file__).with_name("mlserver_names.txt").read_text().split("\n")[:-1]
ROW = re.compile(r"(?P<path>[\w.]+)(\[(?P<field>\w+)\])?(?P<call>\((?P<parameters>.*)\))?")
NOT_THERE = {
    # parts of the server itself
    "mlserver.MLServer.add_custom_handlers", "mlserver.MLServer.start", "mlserver.MLServer.stop",
    "mlserver.MLServer.reload_custom_handlers", "mlserver.MLServer.remove_custom_handlers",
    "mlserver.server.GRPCServer", "mlserver.server.HANDLED_SIGNALS", "mlserver.server.RESTServer",
    "mlserver.server.InferencePoolRegistry", "mlserver.server.KafkaServer",
    "mlserver.server.MultiModelRegistry",
    "mlserver.cloudevents.CloudEventsMiddleware", "mlserver.cloudevents.InferenceMiddleware",
    "mlserver.cloudevents.get_namespace",
    "mlserver.handlers.dataplane.CloudEventsMiddleware", "mlserver.handlers.dataplane.LocalCache",
    "mlserver.handlers.dataplane.InferenceMiddlewares", "mlserver.handlers.dataplane.ResponseCache",
    "mlserver.handlers.dataplane.MultiModelRegistry",
    # the peer's Prometheus registry: histograms are mpserve's counters
    "mlserver.metrics.REGISTRY", "mlserver.metrics.context.REGISTRY",
    "mlserver.metrics.registry.REGISTRY", "mlserver.metrics.registry.MetricsRegistry",
}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def package():
    assert supply_mlserver(), "the real package is installed"
    yield
    withdraw_mlserver()


def find(path):
    """Import what can be imported of a path, and look up the rest."""
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for name in parts[end:]:
            found = getattr(found, name)
        return found
    raise ModuleNotFoundError(path)


def is_accepted(parameter, place, ours):
    """Tell whether a call that gives this parameter, by its name or place, is one of ours."""
    name = parameter.strip("*=")
    if parameter == "*":
        return True
    kinds = [one.kind for one in ours.values()]
    if parameter.startswith("**"):
        return inspect.Parameter.VAR_KEYWORD in kinds
    if parameter.startswith("*"):
        return inspect.Parameter.VAR_POSITIONAL in kinds
    one = ours.get(name)
    if one is None or list(ours).index(name) != place:
        return False
    return not parameter.endswith("=") or one.default is not inspect.Parameter.empty


@pytest.mark.parametrize(
    "row", [row for row in ROWS if ROW.fullmatch(row)["path"] not in NOT_THERE]
)
def test_a_name_of_the_peer_is_there(row):
    match = ROW.fullmatch(row)
    found = find(match["path"])
    if match["field"]:
        assert match["field"] in found.model_fields
    if match["call"]:
        ours = inspect.signature(found).parameters
        given = [one for one in match["parameters"].split(", ") if one]
        refused = [one for place, one in enumerate(given) if not is_accepted(one, place, ours)]
        assert not refused, f"{refused} of {row}; ours: {inspect.signature(found)}"
        wanted = {one.strip("*=") for one in given}
        more = [one for one in ours.values() if one.name not in wanted and one.default is one.empty
                and one.kind not in {one.VAR_KEYWORD, one.VAR_POSITIONAL}]  # fmt: skip
        assert not more, f"ours also wants {more}"


def test_what_is_not_there_is_of_the_list():
    assert {ROW.fullmatch(row)["path"] for row in ROWS} >= NOT_THERE
    for path in NOT_THERE:
        with pytest.raises((AttributeError, ModuleNotFoundError)):
            find(path)


@pytest.mark.parametrize(
    "path", ["mlserver.MLServer", "mlserver.handlers.DataPlane", "mlserver.metrics.MetricsServer"]
)
def test_a_part_of_the_server_can_be_named_but_not_made(path):
    with pytest.raises(NotImplementedError, match="runs on mpserve"):
        find(path)({})
