"""Models that can not be served say so in Triton's words, and cost the others nothing."""

import pytest

from tests.fixtures.ensembles import add_ensemble, adding
from tests.fixtures.repository import Repository

UNKNOWN = (
    "Invalid argument: unable to find backend library for backend '{backend}', try specifying "
    "runtime on the model configuration."
)
GPU = (
    "Invalid argument: instance group gpu_0 of model gpu has kind KIND_GPU but server does not "
    "support GPUs"
)
REASONS = {
    "planned": ('backend: "tensorrt"', UNKNOWN.format(backend="tensorrt")),
    "graph": ('backend: "tensorflow"', UNKNOWN.format(backend="tensorflow")),
    "strange": ('backend: "nobody_has_this"', UNKNOWN.format(backend="nobody_has_this")),
    "gpu": ('backend: "python" instance_group { kind: KIND_GPU }', GPU),
}


@pytest.fixture
def repository(tmp_path):
    repository = Repository(tmp_path / "models")
    repository.add("identity", "good")
    for name, (config, _) in REASONS.items():
        (repository.path / name / "1").mkdir(parents=True)
        (repository.path / name / "1" / "model.py").write_text("class TritonPythonModel: pass\n")
        (repository.path / name / "config.pbtxt").write_text(config)
    return repository


def unavailable(name, reason):
    return {"name": name, "version": "1", "state": "UNAVAILABLE", "reason": reason}


def test_a_load_that_can_not_succeed_tells_why_and_leaves_the_others_alone(serve, repository):
    server = serve(repository.path, flags=["--model-control-mode=explicit", "--load-model=good"])
    for name, (_, reason) in REASONS.items():
        answer = server.load(name)
        assert answer.status == 400
        assert answer.json()["error"] == (
            f"load failed for model '{name}': version 1 is at UNAVAILABLE state: {reason};\n"
        )
        assert unavailable(name, reason) in server.index()
    assert server.get("/v2/models/good/ready").status == 200
    assert server.get("/v2/health/ready").status == 400


def test_a_model_that_is_refused_as_a_member_of_an_ensemble_says_why(serve, repository):
    _, reason = REASONS["gpu"]
    add_ensemble(repository, "whole", adding("gpu", "X", "Y"))
    server = serve(repository.path, flags=["--model-control-mode=explicit"])
    refused = server.load("whole")
    assert refused.status == 400
    assert (
        "depends on 'gpu' which has no loaded version. Model 'gpu' loading failed with error: "
        f"version 1 is at UNAVAILABLE state: {reason};"
    ) in refused.json()["error"]
    assert unavailable("gpu", reason) in server.index()


@pytest.mark.parametrize("mode", ["none", "poll"])
def test_at_start_such_models_are_in_the_index_with_their_reasons(serve, repository, mode):
    flags = [f"--model-control-mode={mode}", "--exit-on-error=false", "--strict-readiness=false"]
    server = serve(repository.path, flags=flags)
    rows = {row["name"]: row for row in server.index()}
    assert rows["good"]["state"] == "READY"
    for name, (_, reason) in REASONS.items():
        assert rows[name] == unavailable(name, reason)
