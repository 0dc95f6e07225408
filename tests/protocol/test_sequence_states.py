"""Implicit state of sequences, and iterative sequences, in real workers."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fixtures.repository import Repository
from tests.fixtures.scripted import DECOUPLED, run_script, script_body
from tests.fixtures.server import Answer, Server
from tests.fixtures.waiting import wait_until

TOTAL = 'input_name: "TOTAL" output_name: "NEXT" data_type: TYPE_INT64'
TEXTS = 'input_name: "TEXTS" output_name: "NEXT_TEXTS" data_type: TYPE_STRING'
FLOATS = 'input_name: "FLOATS" output_name: "NEXT_FLOATS" data_type: TYPE_FP32'
NO_IDLING = "max_sequence_idle_microseconds: 60000000"
FOUR = "oldest { max_candidate_sequences: 4 }"


def states(*texts: str, strategy: str = FOUR, more: str = "") -> str:
    listed = ", ".join(f"{{ {text} }}" for text in texts)
    return f"sequence_batching {{ {strategy} {NO_IDLING} {more} state [ {listed} ] }}"


def begins(text: str, dims: int, first: str) -> str:
    """Return a state with a first value."""
    datatype = text.partition("data_type: ")[2]
    return (
        f'{text} dims: [ -1 ] initial_state {{ name: "first" data_type: {datatype}'
        f" dims: [ {dims} ] {first} }}"
    )


@pytest.fixture(scope="module")
def server(
    nothing_is_left_behind: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("states")
    repository = Repository(folder / "models")
    total = f"{TOTAL} dims: [ 1 ]"
    repository.add("scripted", "m", config=states(total))
    repository.add(
        "scripted", "shared", config=states(f"{total} use_same_buffer_for_input_output: true")
    )
    repository.add("scripted", "stream", config=f"{DECOUPLED} {states(total)}")
    repository.add("scripted", "caller")
    repository.add(
        "scripted",
        "first",
        config=states(
            f"{TOTAL} dims: [ -1, 2 ]",
            begins(FLOATS, 2, 'data_file: "floats"'),
            begins(TEXTS, 3, "zero_data: true"),
        ),
    )
    initial = repository.path / "first" / "initial_state"
    initial.mkdir()
    (initial / "floats").write_bytes(b"\0\0\x80\x3f\0\0\0\x40rest")  # 1.0, 2.0
    for name, strategy in (("direct", "direct {}"), ("oldest", FOUR)):
        repository.add("keeper", name, config=states(total, strategy=strategy))
        repository.add(
            "keeper",
            f"{name}_iterative",
            config=states(total, strategy=strategy, more="iterative_sequence: true"),
        )
    with Server.serve(repository.path, log_path=folder / "log", flags=["--frontends=2"]) as started:
        yield started


def ask(server: Server, model: str, sequence: int, code: str, **marks: bool) -> Answer:
    body = script_body(code)
    del body["outputs"]
    body["parameters"] = {"sequence_id": sequence} | {
        f"sequence_{mark}": value for mark, value in marks.items()
    }
    return server.infer(model, body)


def tell(server: Server, model: str, sequence: int, code: str, **marks: bool):
    answer = ask(server, model, sequence, code, **marks)
    assert answer.status == 200, answer
    (output,) = answer.json()["outputs"]  # states are no outputs
    return json.loads(output["data"][0])


READ = """
def of(name):
    array = pb_utils.get_input_tensor_by_name(request, name).as_numpy()
    return [one.decode() if isinstance(one, bytes) else one for one in array.ravel().tolist()]
"""
ADD = """
total = pb_utils.get_input_tensor_by_name(request, "TOTAL").as_numpy()
result = np.array([json.dumps((total + {0}).tolist())], np.object_)
return pb_utils.InferenceResponse(
    [pb_utils.Tensor("RESULT", result), pb_utils.Tensor("NEXT", total + {0})]
)
"""


def add(number: int) -> str:
    return "import json" + ADD.format(number)


# --- implicit state ------------------------------------------------------------------------------


def test_each_sequence_adds_up_in_a_state_of_its_own(server):
    assert tell(server, "m", 1, add(5), start=True) == [5]
    assert tell(server, "m", 2, add(100), start=True) == [100]
    assert tell(server, "m", 1, add(6)) == [11]
    assert tell(server, "m", 2, add(1), end=True) == [101]
    assert tell(server, "m", 1, add(0), end=True) == [11]
    assert tell(server, "m", 2, add(1), start=True, end=True) == [1]  # in the slot of before


def test_a_second_start_begins_with_the_first_value(server):
    assert tell(server, "m", 3, add(5), start=True) == [5]
    assert tell(server, "m", 3, add(1), start=True) == [1]
    assert tell(server, "m", 3, add(1), end=True) == [2]


def test_a_request_that_fails_leaves_the_state_as_it_was(server):
    assert tell(server, "m", 4, add(5), start=True) == [5]
    assert ask(server, "m", 4, "raise ValueError('no')").status == 500
    error = "pb_utils.InferenceResponse([], error=pb_utils.TritonError('no'))"
    assert ask(server, "m", 4, f"return {error}").status == 500
    assert tell(server, "m", 4, "return 'no state in it'") == "no state in it"
    assert tell(server, "m", 4, add(1), end=True) == [6]


@pytest.mark.parametrize(
    ("array", "words"),
    [
        ("np.zeros(1, np.float32)", "datatype TYPE_INT64, the model answered TYPE_FP32"),
        ("np.array([b''], object)", "datatype TYPE_INT64, the model answered TYPE_STRING"),
        ("np.zeros(2, np.int64)", "shape [1], the model answered [2]"),
        ("np.zeros((1, 1), np.int64)", "shape [1], the model answered [1,1]"),
    ],
)
def test_a_state_that_is_not_what_was_configured_fails_its_request(server, array, words):
    assert tell(server, "m", 5, add(5), start=True) == [5]
    code = f"return pb_utils.InferenceResponse([pb_utils.Tensor('NEXT', {array})])"
    answer = ask(server, "m", 5, code)
    assert answer.status == 500
    assert f"state 'NEXT': the configuration expects {words}" in answer.json()["error"]
    assert tell(server, "m", 5, add(1), end=True) == [6]


def test_clients_can_neither_send_nor_read_a_state(server):
    body = script_body("return 1")
    body["parameters"] = {"sequence_id": 6, "sequence_start": True}
    state = {"name": "TOTAL", "datatype": "INT64", "shape": [1], "data": [5]}
    sent = server.infer("m", body | {"inputs": [*body["inputs"], state]})
    assert sent.status == 400
    assert sent.json() == {"error": "unexpected inference input 'TOTAL' for model 'm'"}
    read = server.infer("m", body | {"outputs": [{"name": "NEXT"}]})
    assert read.json() == {"error": "unexpected inference output 'NEXT' for model 'm'"}


def test_a_state_is_asked_for_whatever_the_client_asks_for(server):
    names = "return request.requested_output_names()"
    assert tell(server, "m", 7, names, start=True) == ["RESULT", "Y", "NEXT"]
    body = script_body(names) | {"parameters": {"sequence_id": 7, "sequence_end": True}}
    answer = server.infer("m", body).json()["outputs"][0]["data"][0]
    assert json.loads(answer) == ["RESULT", "NEXT"]


def test_a_model_can_not_change_a_state_in_place_unless_it_is_shared(server):
    code = """
    total = pb_utils.get_input_tensor_by_name(request, "TOTAL").as_numpy()
    total += 4
    return total.tolist()
    """
    answer = ask(server, "m", 8, code, start=True, end=True)
    assert "output array is read-only" in answer.json()["error"]
    assert tell(server, "shared", 8, code, start=True) == [4]
    assert tell(server, "shared", 8, code) == [8]
    assert tell(server, "shared", 8, add(1)) == [9]
    assert tell(server, "shared", 8, code, end=True) == [13]
    assert tell(server, "shared", 8, code, start=True, end=True) == [4]


def test_states_begin_with_zeros_a_file_or_texts_and_may_grow(server):
    code = f"{READ}\nreturn [of(name) for name in ('TOTAL', 'FLOATS', 'TEXTS')]"
    grow = """
    kept = np.arange(4).reshape(2, 2)
    names = pb_utils.Tensor("NEXT_TEXTS", np.array([b"one"], object))
    response = pb_utils.InferenceResponse([pb_utils.Tensor("NEXT", kept), names])
    kept = kept + 1
    return response
    """
    begun = [[0, 0], [1.0, 2.0], ["", "", ""]]
    assert tell(server, "first", 9, code, start=True) == begun
    assert ask(server, "first", 9, grow).status == 200
    assert tell(server, "first", 9, code, end=True) == [[0, 1, 2, 3], [1.0, 2.0], ["one"]]
    assert tell(server, "first", 9, code, start=True, end=True) == begun


def test_each_answer_of_a_decoupled_model_may_change_the_state(server):
    step = """
total = pb_utils.get_input_tensor_by_name(request, "TOTAL").as_numpy()
for more in (1, 2):
    tensor = pb_utils.Tensor("RESULT", np.array([str(total.item())], object))
    yield pb_utils.InferenceResponse([tensor, pb_utils.Tensor("NEXT", total + more)])
"""
    code = f'''
    told = []
    for flags in (1, 0, 2):
        request = inner("stream", """{step}""", correlation_id=10, flags=flags)
        responses = list(request.exec(decoupled=True))
        told.append([result_of(one) for one in responses if one.output_tensors()])
    return told
    '''
    assert run_script(server, "caller", code) == [[0, 0], [2, 2], [4, 4]]


@pytest.mark.parametrize("model", ["direct", "oldest"])
def test_sequences_in_one_batch_keep_their_states(server, model):
    def run(sequence: int) -> list[int]:
        sums = []
        for number in range(20):
            body = {
                "parameters": {
                    "sequence_id": sequence,
                    "sequence_start": number == 0,
                    "sequence_end": number == 19,
                },
                "inputs": [
                    {"name": "VALUE", "datatype": "INT64", "shape": [1, 1], "data": [sequence]}
                ],
                "outputs": [{"name": "SUM"}],
            }
            answer = server.infer(model, body)
            assert answer.status == 200, answer
            sums.append(answer.json()["outputs"][0]["data"][0])
        return sums

    with ThreadPoolExecutor(6) as pool:
        for sequence, sums in zip(range(1, 7), pool.map(run, range(1, 7)), strict=True):
            assert sums == [sequence * number for number in range(1, 21)]


# --- iterative sequences -------------------------------------------------------------------------


def steps(server: Server, model: str, count: int, **parameters: object) -> Answer:
    value = {"name": "VALUE", "datatype": "INT64", "shape": [1, 1], "data": [count]}
    return server.infer(model, {"parameters": parameters, "inputs": [value]})


def seen(answer: Answer) -> list[dict]:
    assert answer.status == 200, answer
    data = {output["name"]: output["data"][0] for output in answer.json()["outputs"]}
    return json.loads(data["STEPS"])


@pytest.mark.parametrize("model", ["direct_iterative", "oldest_iterative"])
def test_requests_without_an_id_are_sequences_that_go_on_together(server, model):
    counts = [40, 30, 20, 10, 5, 1]  # more than there are slots

    def have_met() -> bool:
        with ThreadPoolExecutor(len(counts)) as pool:
            told = list(pool.map(lambda count: seen(steps(server, model, count)), counts))
        assert [len(one) for one in told] == counts
        assert all([step["flags"] for step in one] == [1] + [0] * (len(one) - 1) for one in told)
        assert all(len(one[-1]["batch"]) <= 4 for one in told)
        return any(len(set(step["batch"]) - {0}) > 1 for one in told for step in one)

    # Where a request comes when the one before it has ended, they do not meet; then again.
    assert any(have_met() for _ in range(50))


@pytest.mark.parametrize("model", ["direct_iterative", "oldest_iterative"])
def test_an_iterative_sequence_of_the_clients_ends_with_its_request(server, model):
    for _ in range(3):
        told = seen(steps(server, model, 3, sequence_id=77, sequence_start=True))
        assert [step["flags"] for step in told] == [1, 0, 0]
        assert all(77 in step["batch"] for step in told)
    answer = steps(server, model, 1, sequence_id=77)
    assert answer.status == 400
    assert "must specify the START flag" in answer.json()["error"]


# --- loading -------------------------------------------------------------------------------------


def test_a_first_value_that_is_too_small_fails_the_load(serve, repository):
    add_beginning(repository, 'data_file: "floats"', b"\0" * 7)
    server = serve(repository.path, flags=["--model-control-mode=explicit"])
    answer = server.load("m")
    assert answer.status == 400
    assert (
        "initial_state setting expects 8 bytes, but the data provided from floats only has 7 bytes."
        in answer.json()["error"]
    )
    Path(repository.path, "m", "initial_state", "floats").unlink()
    assert "failed to read initial_state data file" in server.load("m").json()["error"]


def add_beginning(repository: Repository, first: str, content: bytes) -> None:
    repository.add("scripted", "m", config=states(begins(FLOATS, 2, first)))
    folder = repository.path / "m" / "initial_state"
    folder.mkdir()
    (folder / "floats").write_bytes(content)


def test_a_warm_up_is_given_the_first_value(serve, repository):
    script = "print('warm', pb_utils.get_input_tensor_by_name(request, 'TOTAL').as_numpy())"
    warm_up = """
    model_warmup {
      name: "one" batch_size: 1
      inputs { key: "SCRIPT" value { data_type: TYPE_STRING dims: 1 input_data_file: "script" } }
    }
    """
    repository.add("scripted", "m", config=f"{states(f'{TOTAL} dims: [ 1 ]')} {warm_up}")
    folder = repository.path / "m" / "warmup"
    folder.mkdir()
    (folder / "script").write_bytes(len(script).to_bytes(4, "little") + script.encode())
    server = serve(repository.path)
    wait_until(lambda: "warm [0]" in server.log_text, what="the log to tell so")


def test_an_onnx_model_keeps_its_state(serve, repository):
    onnx_models = pytest.importorskip("tests.fixtures.onnx_models")
    kind, shape = onnx_models.FLOAT, ["rows", 1]
    node = onnx_models.helper.make_node
    onnx_models.save(
        repository.path / "m" / "1" / "model.onnx",
        [node("Add", ["IN", "TOTAL"], ["NEXT"]), node("Neg", ["NEXT"], ["OUT"])],
        [onnx_models.value(name, kind, shape) for name in ("IN", "TOTAL")],
        [onnx_models.value(name, kind, shape) for name in ("OUT", "NEXT")],
    )
    state = 'input_name: "TOTAL" output_name: "NEXT" data_type: TYPE_FP32 dims: [ 1 ]'
    config = f'platform: "onnxruntime_onnx" max_batch_size: 2 {states(state, strategy="direct {}")}'
    repository.write("m/config.pbtxt", config)
    server = serve(repository.path)
    outputs = []
    for number in range(3):
        body = {
            "parameters": {"sequence_id": 1, "sequence_start": number == 0},
            "inputs": [{"name": "IN", "datatype": "FP32", "shape": [1, 1], "data": [2.5]}],
        }
        answer = server.infer("m", body)
        assert answer.status == 200, answer
        outputs += [(one["name"], *one["data"]) for one in answer.json()["outputs"]]
    assert outputs == [("OUT", -2.5), ("OUT", -5.0), ("OUT", -7.5)]
