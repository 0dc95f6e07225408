"""Models that call models, while those are loaded, reloaded and unloaded."""

from tests.fixtures.closed_loop import ClosedLoop, infer_bytes
from tests.fixtures.ensembles import add_ensemble, adding
from tests.fixtures.pace import full_or
from tests.fixtures.scripted import post_script, run_script, script_body
from tests.fixtures.waiting import wait_until

EXPLICIT = ["--model-control-mode=explicit", "--load-model=caller"]
RELOADS = full_or(20, 5)
CALL_ADDER = """
tensor = pb_utils.Tensor("IN", np.array([1], dtype=np.float32))
response = pb_utils.InferenceRequest(
    model_name="{name}", requested_output_names=["{output}"], inputs=[tensor]).exec()
if response.has_error():
    return pb_utils.InferenceResponse(error=response.error())
return float(response.output_tensors()[0].as_numpy()[0])
"""


def test_a_model_loads_asks_for_and_unloads_models(serve, repository):
    repository.add("scripted", "caller")
    repository.add("adder", "other")
    server = serve(repository.path, flags=EXPLICIT)
    ready = "pb_utils.is_model_ready('other')"
    assert run_script(server, "caller", f"return {ready}") is False
    assert run_script(server, "caller", f"pb_utils.load_model('other'); return {ready}") is True
    assert run_script(server, "caller", CALL_ADDER.format(name="other", output="OUT")) == 2
    assert run_script(server, "caller", "return pb_utils.unload_model('other')") is None
    wait_until(lambda: run_script(server, "caller", f"return {ready}") is False)
    failed = post_script(server, "caller", CALL_ADDER.format(name="other", output="OUT"))
    assert "Model 'other' is not ready." in failed.json()["error"]


def test_a_model_may_be_loaded_with_files_and_a_configuration_of_its_own(serve, repository):
    repository.add("scripted", "caller")
    repository.add("adder", "other")
    server = serve(repository.path, flags=EXPLICIT)
    config = (repository.path / "other/config.pbtxt").read_text()
    code = f"""
    import json
    source = open({str(repository.path / "other/1/model.py")!r}, "rb").read()
    config = {{"backend": "python",
        "input": [{{"name": "IN", "data_type": "TYPE_FP32", "dims": [1]}}],
        "output": [{{"name": "OUT", "data_type": "TYPE_FP32", "dims": [1]}}]}}
    pb_utils.load_model("other", config=json.dumps(config),
        files={{"file:3/model.py": source, "file:3/amount.txt": b"40"}})
    return [pb_utils.is_model_ready("other", version) for version in ("1", "3")]
    """
    assert config
    assert run_script(server, "caller", code) == [False, True]
    assert run_script(server, "caller", CALL_ADDER.format(name="other", output="OUT")) == 41


def test_what_can_not_be_loaded_is_raised_in_the_model(serve, repository):
    repository.add("scripted", "caller")
    repository.add_faulty("broken", place="initialize", fault="raise")
    server = serve(repository.path, flags=EXPLICIT)

    def raised(call: str) -> str:
        code = f"""
try:
    {call}
except pb_utils.TritonModelException as error:
    return str(error)
"""
        return run_script(server, "caller", code)

    assert raised("pb_utils.load_model('nobody')").startswith("Failed to load model: ")
    assert raised("pb_utils.load_model('broken')").startswith("Failed to load model: ")
    assert raised("pb_utils.load_model('caller', files=[1])") == (
        "failed to load model 'caller', files should be a dictionary of file paths and file"
        " contents"
    )


def test_models_are_not_loaded_by_models_unless_in_explicit_mode(serve, repository):
    repository.add("scripted", "caller")
    server = serve(repository.path)
    answer = post_script(server, "caller", "pb_utils.load_model('caller')")
    assert answer.status == 500
    assert "Failed to load model: " in answer.json()["error"]


def test_when_a_model_may_call(serve, repository):
    caught = """
try:
    {}
except pb_utils.TritonModelException as error:
    return str(error)
"""
    exec_early = caught.format("inner('caller', 'return 1').exec()")
    repository.add("scripted", "caller", parameters={"initialize": repr(exec_early)[1:-1]})
    repository.add("adder", "other")
    load = "pb_utils.load_model('other'); return pb_utils.is_model_ready('other')"
    repository.add("scripted", "loader", parameters={"initialize": load})
    server = serve(repository.path, flags=[*EXPLICIT, "--load-model=loader"])
    assert run_script(server, "caller", "return model.initialized") == (
        "BLS is only supported during the 'execute' function."
    )
    assert run_script(server, "loader", "return model.initialized") is True


def test_a_reload_of_the_called_model_costs_no_request(serve, repository):
    repository.add("scripted", "caller", config="instance_group [{ count: 2 }]")
    repository.add("adder", "m")
    add_ensemble(repository, "e", adding("m", "IN", "OUT"), inputs=("IN",), outputs=("OUT",))
    flags = ["--model-control-mode=explicit", "--load-model=*"]
    server = serve(repository.path, flags=flags)
    plain, ensemble = (
        infer_bytes("caller", script_body(CALL_ADDER.format(name=name, output="OUT")))
        for name in ("m", "e")
    )
    with (
        ClosedLoop(server, plain, clients=3) as plain_load,
        ClosedLoop(server, ensemble, clients=3) as ensemble_load,
    ):
        for number in range(int(RELOADS)):
            repository.write("m/1/amount.txt", str(number + 2))
            assert server.load("m").status == 200
            plain_load.wait_answered(by_each=2)
            ensemble_load.wait_answered(by_each=2)
    assert plain_load.failed == []
    assert ensemble_load.failed == []


def test_a_model_may_reload_itself(serve, repository):
    repository.add("scripted", "caller", files={"1/note.txt": "1"})
    server = serve(repository.path, flags=EXPLICIT)
    pid = server.process_named("mps:caller").pid
    repository.write("caller/1/note.txt", "2")
    assert run_script(server, "caller", "return pb_utils.load_model('caller')") is None
    wait_until(lambda: server.process_named("mps:caller").pid != pid)
    assert run_script(server, "caller", "return 1") == 1
    assert run_script(server, "caller", "return pb_utils.unload_model('caller')") is None
