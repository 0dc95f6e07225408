"""The tables of scenarios, servers and models fit together."""

import json

import pytest

from bench.measuring.measurement import Pace
from bench.measuring.rounds import Plan, Turn, turns
from bench.peers import PEERS
from bench.repositories import MODELS, Layout, write_model
from bench.scenarios import SCENARIOS, Measure

PACED = {Measure.OPEN, Measure.RELOAD, Measure.KILL}
ASKED = {Measure.INFER, *PACED}


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda scenario: scenario.name)
def test_a_scenario_names_only_servers_and_models_that_exist(scenario):
    assert set(scenario.encodings) <= set(PEERS)
    assert set(scenario.models) <= set(MODELS)
    assert (scenario.tensors is not None) == (scenario.measure in ASKED)
    assert (scenario.rate > 0) == (scenario.measure in PACED)
    assert scenario.client_threads <= scenario.connections


def test_rounds_alternate_the_servers_and_leave_out_those_that_cannot():
    plan = Plan(
        servers=("mpserve", "mlserver-0"),
        scenarios=("json16_c1", "binary16_c16"),
        rounds=2,
        pace=Pace(seconds=1, warmup_seconds=0),
    )

    listed = list(turns(plan))

    once = [("json16_c1", "mpserve"), ("json16_c1", "mlserver-0"), ("binary16_c16", "mpserve")]
    assert listed == [
        Turn(round_index=index, scenario=scenario, server=server)
        for index in (0, 1)
        for scenario, server in once
    ]


def test_copies_of_a_model_have_names_of_their_own():
    served = SCENARIOS["start_100"].served()

    assert len(served) == 100
    assert served["simple_99"] == "simple"


@pytest.mark.parametrize("layout", Layout, ids=lambda layout: layout.value)
def test_a_written_model_is_called_as_its_folder(tmp_path, layout):
    write_model(tmp_path / "simple_7", "simple", layout=layout, train=pytest.fail)

    texts = {path.name: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    if layout is Layout.TRITON:
        assert 'name: "simple_7"' in texts["config.pbtxt"]
        assert set(texts) == {"config.pbtxt", "model.py"}
    else:
        assert '"implementation": "simple_7_model.BenchModel"' in texts["model-settings.json"]
        assert set(texts) == {"model-settings.json", "simple_7_model.py"}
    assert not any("@NAME@" in text for text in texts.values())


def test_a_classifier_is_trained_where_its_layout_looks_for_it(tmp_path):
    trained = []

    write_model(tmp_path / "t", "digits", layout=Layout.TRITON, train=trained.append)
    write_model(tmp_path / "m", "digits", layout=Layout.MLSERVER, train=trained.append)

    assert trained == [tmp_path / "t/1/model.joblib", tmp_path / "m/model.joblib"]


def test_the_batched_classifier_says_so_in_both_layouts(tmp_path):
    for layout in Layout:
        folder = tmp_path / layout.value
        write_model(folder, "digits_batched_16", layout=layout, train=lambda _path: None)
    config = (tmp_path / "triton/config.pbtxt").read_text()
    settings = json.loads((tmp_path / "mlserver/model-settings.json").read_text())

    assert "max_batch_size: 16" in config
    assert "dynamic_batching { }" in config
    assert "dims: [ 64 ]" in config
    assert settings["max_batch_size"] == 16
    assert settings["max_batch_time"] > 0
