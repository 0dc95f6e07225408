"""Requests of a model to other models, as Triton's Python backend has them."""

from collections.abc import Iterator

import pytest

from tests.fixtures.ensembles import add_ensemble, adding
from tests.fixtures.repository import Repository
from tests.fixtures.scripted import DECOUPLED, post_script, result_of, run_script
from tests.fixtures.server import Server

ADD = """
    def add(model_name, value, **options):
        tensor = pb_utils.Tensor("IN", np.array([value], dtype=np.float32))
        return pb_utils.InferenceRequest(
            model_name=model_name, requested_output_names=["OUT"], inputs=[tensor], **options
        )
    def out(response, name="OUT"):
        if response.has_error():
            return [response.error().code().name, response.error().message()]
        return pb_utils.get_output_tensor_by_name(response, name).as_numpy().tolist()
"""


@pytest.fixture(scope="module")
def server(
    nothing_is_left_behind: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("bls")
    repository = Repository(folder / "models")
    repository.add("scripted", "caller")
    repository.add("scripted", "called")
    repository.add("scripted", "stream", config=DECOUPLED)
    repository.add("adder", "versions", versions=(1, 2), config="version_policy { all {} }")
    repository.write("versions/1/amount.txt", "100")
    (folder / "meeting").mkdir()
    for name in ("left", "right"):
        repository.add("adder", name, parameters={"meeting": str(folder / "meeting")})
    repository.add("adder", "failing", parameters={"error": "out of ideas"})
    add_ensemble(repository, "chain", adding("versions", "X", "T"), adding("versions", "T", "Y"))
    with Server.serve(
        repository.path,
        flags=["--model-control-mode=explicit", "--load-model=*", "--frontends=1"],
        log_path=folder / "log",
    ) as running:
        yield running


def ask(server: Server, code: str):
    return run_script(server, "caller", ADD + code)


@pytest.mark.parametrize(
    ("version", "expected"), [("", 2.0), (", model_version=-1", 2.0), (", model_version=1", 101.0)]
)
def test_exec_asks_a_version_or_the_default_one(server, version, expected):
    assert ask(server, f"    return out(add('versions', 1{version}).exec())") == [expected]


def test_the_name_of_a_model_may_be_an_element_of_a_tensor(server):
    code = """
    name = np.array([b"versions"], dtype=np.object_)[0]
    return [out(add(name, 1).exec()), pb_utils.is_model_ready(name)]"""
    assert ask(server, code) == [[2.0], True]


@pytest.mark.parametrize("target", ["'nobody'", "'versions', model_version=7"])
def test_a_model_that_is_not_ready_is_told_by_the_response(server, target):
    name = "nobody" if "nobody" in target else "versions"
    code, message = ask(server, f"    return out(add({target}, value=1).exec())")
    assert message == f"Failed for execute the inference request. Model '{name}' is not ready."
    assert code in {"UNAVAILABLE", "NOT_FOUND"}


def test_what_does_not_fit_is_told_by_the_response(server):
    code, message = ask(
        server,
        """
    tensor = pb_utils.Tensor("IN", np.zeros([3], dtype=np.float32))
    return out(pb_utils.InferenceRequest(
        model_name="versions", requested_output_names=["OUT"], inputs=[tensor]).exec())
""",
    )
    assert code == "INVALID_ARG"
    assert message.startswith("Model versions - Error when running inference: ")
    assert "unexpected shape for input 'IN'" in message


def test_the_called_models_error_comes_with_its_code(server):
    assert ask(server, "    return out(add('failing', 1).exec())") == [
        "UNAVAILABLE",
        "Model failing - Error when running inference: out of ideas",
    ]


def test_a_model_that_raises_fails_the_call_and_not_the_caller(server):
    code, message = ask(server, "    return call('called', 'raise ValueError(7)')")
    assert code == "INTERNAL"
    assert "ValueError: 7" in message


def test_what_belongs_to_the_request_reaches_the_called_model(server):
    seen = ask(
        server,
        """
    return call("called", '''return [
        request.request_id(), request.correlation_id(), request.flags(), request.timeout(),
        request.parameters(), request.requested_output_names(),
    ]''', request_id="my id", correlation_id=7, timeout=5_000_000,
        flags=pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START
            | pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_END,
        preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0),
        trace=request.trace(), parameters={"k": "v", "n": 3, "b": True})
""",
    )
    assert seen[:4] == ["my id", 7, 3, 5_000_000]
    assert seen[4] == '{"k": "v", "n": 3, "b": true}'
    assert seen[5] == ["RESULT"]


def test_a_correlation_id_may_be_text(server):
    code = "    return call('called', 'return request.correlation_id()', correlation_id='abc')"
    assert ask(server, code) == "abc"


def test_only_the_wanted_outputs_come(server):
    code = """
    script_code = '''return pb_utils.InferenceResponse([
        pb_utils.Tensor("RESULT", np.array(["r"], dtype=object)),
        pb_utils.Tensor("Y", np.arange(3, dtype=np.float32)),
    ])'''
    response = inner("called", script_code, requested_output_names=["Y"]).exec()
    return [[tensor.name(), tensor.as_numpy().tolist()] for tensor in response.output_tensors()]
"""
    assert ask(server, code) == [["Y", [0.0, 1.0, 2.0]]]


def test_parameters_of_a_response_come_back(server):
    code = """
    response = inner("called", '''return pb_utils.InferenceResponse(
        [], parameters={"speed": 3, "who": "me"})''').exec()
    return response.parameters()
"""
    assert ask(server, code) == '{"speed": 3, "who": "me"}'


def test_large_and_kept_answers_stay_as_they_were(server):
    code = """
    give = '''return pb_utils.InferenceResponse([
        pb_utils.Tensor("RESULT", np.array(["r"], dtype=object)),
        pb_utils.Tensor("Y", request.inputs()[1].as_numpy() * 2),
    ])'''
    kept = []
    for number in range(12):
        x = pb_utils.Tensor("X", np.full(300_000, number, dtype=np.float32))
        request = inner("called", give, requested_output_names=["Y"], inputs=[script(give), x])
        kept.append(request.exec().output_tensors()[0].as_numpy())
    return [bool((array == 2 * number).all()) for number, array in enumerate(kept)]
"""
    assert ask(server, code) == [True] * 12


def test_async_exec_lets_models_work_at_the_same_time(server):
    code = """
    async def both():
        responses = await asyncio.gather(
            *(add(*one).async_exec() for one in [("left", 1), ("right", 2), ("nobody", 3)])
        )
        return [out(response) for response in responses]
    return asyncio.run(both())
"""
    left, right, nobody = ask(server, code)
    assert (left, right) == ([2.0], [3.0]), "one after the other would never meet"
    assert "is not ready" in nobody[1]


def test_threads_of_a_model_may_call_at_the_same_time(server):
    code = """
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda value: out(add("versions", value).exec())[0], range(200)))
"""
    assert ask(server, code) == [float(value + 1) for value in range(200)]


def test_a_decoupled_model_gives_an_iterator(server):
    code = """
    responses = inner("stream", "yield from range(4)").exec(decoupled=True)
    assert isinstance(responses, pb_utils.ResponseIterator)
    tensors = [response.output_tensors() for response in responses]
    return [int(outputs[0].as_numpy()[0]) for outputs in tensors if outputs]
"""
    assert ask(server, code) == [0, 1, 2, 3]


def test_an_iterator_also_takes_the_one_answer_of_another_model(server):
    code = """
    responses = add("versions", 4).exec(decoupled=True)
    return [out(response) for response in responses]
"""
    assert ask(server, code) == [[5.0]]


def test_async_exec_of_a_decoupled_model_gives_an_iterator(server):
    code = """
    async def ask():
        responses = await inner("stream", "yield from 'ab'").async_exec(decoupled=True)
        return [result_of(response) for response in responses if response.output_tensors()]
    return asyncio.run(ask())
"""
    assert ask(server, code) == ["a", "b"]


def test_a_decoupled_model_without_the_flag_is_refused_in_tritons_words(server):
    code, message = ask(server, "    return call('stream', 'yield 1')")
    assert message == (
        "Model stream is using the decoupled. The current BLS request call doesn't support models"
        " using the decoupled transaction policy. Please use 'decoupled=True' argument to the"
        " 'exec' or 'async_exec' calls for decoupled models.'"
    )
    assert code == "UNSUPPORTED"


def test_an_iterator_that_is_cancelled_tells_the_model(server):
    code = """
    forever = '''
while not request.is_cancelled():
    yield 1
    time.sleep(0.01)
'''
    responses = inner("stream", forever).exec(decoupled=True)
    first = result_of(next(responses))
    responses.cancel()
    rest = list(responses)
    # The only instance is free again, or this would never be answered.
    again = inner("stream", "yield 2").exec(decoupled=True)
    return [first, len(rest), result_of(next(again))]
"""
    assert ask(server, code) == [1, 0, 2]


def test_an_ensemble_may_be_called(server):
    code = """
    x = pb_utils.Tensor("X", np.array([5], dtype=np.float32))
    request = pb_utils.InferenceRequest(
        model_name="chain", requested_output_names=["Y"], inputs=[x])
    return out(request.exec(), "Y")
"""
    assert ask(server, code) == [7.0]


def test_models_can_be_asked_for(server):
    code = """
    names = [("versions", ""), ("versions", "1"), ("versions", "9"), ("nobody", ""), ("chain", "")]
    return [pb_utils.is_model_ready(name, version) for name, version in names]
"""
    assert ask(server, code) == [True, True, False, False, True]


def test_a_request_that_a_model_was_given_can_not_be_sent_on(server):
    answer = post_script(server, "caller", "return request.exec()")
    assert answer.status == 500
    assert "only a request that the model made itself can be sent" in answer.json()["error"]


def test_calls_go_through_several_models(server):
    code = """
    return call("called", "return [1, call('versions', 'return 2')[0]]")
"""
    assert ask(server, code) == [1, "INVALID_ARG"]


def test_the_result_of_one_model_is_the_input_of_the_next(server):
    code = """
    first = add("versions", 1).exec().output_tensors()[0]
    again = pb_utils.Tensor.from_dlpack("IN", first.to_dlpack())
    request = pb_utils.InferenceRequest(
        model_name="versions", requested_output_names=["OUT"], inputs=[again])
    return out(request.exec())
"""
    assert ask(server, code) == [3.0]


def test_statistics_count_inner_requests(server):
    def successes() -> int:
        rows = server.get("/v2/models/called/versions/1/stats").json()["model_stats"]
        return rows[0]["inference_stats"]["success"]["count"]

    before = successes()
    assert ask(server, "    return [call('called', 'return 1') for _ in range(5)]") == [1] * 5
    assert successes() == before + 5


def test_a_script_answers_over_http_too(server):
    assert result_of(post_script(server, "called", "return 3")) == 3
