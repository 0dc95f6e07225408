import sys
import textwrap

import numpy as np
import pytest

from mpserve.errors import ErrorCode, InvalidRequest, LoadError
from mpserve.model.config import ModelConfig
from mpserve.model.signature import Signature, TensorSpec
from mpserve.model.tensor import Datatype
from mpserve.runtimes.pytorch import PytorchRuntime
from tests.fixtures.torch_library import need_torch

from .conformance import RuntimeConformance
from .plain import PlainRequest, PlainResponses, outputs, tensor, texts, triton_context

torch = need_torch()

ONES = np.ones((2, 3), dtype=np.float32)

CODE = """
import torch

class Scale(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return x * self.factor
"""


class Pair(torch.nn.Module):
    def forward(self, x, y):
        return x + y, x - y


@pytest.fixture(autouse=True)
def nothing_stays_imported(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in [name for name in sys.modules if name == "1" or name.startswith("1.")]:
        del sys.modules[name]


@pytest.fixture
def runtime():
    runtime = PytorchRuntime(PlainResponses())
    yield runtime
    runtime.unload()


def signature(inputs=(), outputs=(), datatype=Datatype.FP32):
    def spec(name):
        return TensorSpec(name=name, datatype=datatype, shape=None)

    return Signature(inputs=tuple(map(spec, inputs)), outputs=tuple(map(spec, outputs)))


def context_of(folder, *, parameters=None, inputs=("INPUT__0",), outputs=("OUTPUT__0",)):
    config = ModelConfig(parameters=parameters or {}, signature=signature(inputs, outputs))
    return triton_context(folder, config=config)


def script(folder, module, *examples):
    (folder / "1").mkdir(exist_ok=True)
    torch.jit.script(module).save(str(folder / "1" / "model.pt"))


def code(folder, text):
    (folder / "1").mkdir(exist_ok=True)
    (folder / "1" / "model.py").write_text(textwrap.dedent(text))


def ask(runtime, *inputs, **options):
    return runtime.execute([PlainRequest(*inputs, **options)])[0]


class TestConformance(RuntimeConformance):
    registered_name = "pytorch"

    @pytest.fixture
    def runtime(self):
        return PytorchRuntime(PlainResponses())

    @pytest.fixture
    def context(self, tmp_path):
        script(tmp_path, torch.nn.Linear(3, 1))
        return context_of(tmp_path)

    @pytest.fixture
    def broken_context(self, tmp_path):
        (tmp_path / "1").mkdir()
        (tmp_path / "1" / "model.pt").write_bytes(b"junk")
        return context_of(tmp_path)

    @pytest.fixture
    def good_request(self):
        return PlainRequest(tensor("INPUT__0", ONES))

    @pytest.fixture
    def bad_request(self):
        return PlainRequest(tensor("INPUT__0", ONES[:, :1]))


@pytest.mark.parametrize("names", [("INPUT__0", "INPUT__1"), ("x", "y"), ("first", "second")])
def test_arguments_and_results_are_told_by_their_names(tmp_path, runtime, names):
    script(tmp_path, Pair())
    runtime.load(context_of(tmp_path, inputs=names, outputs=("OUTPUT__0", "OUTPUT__1")))
    inputs = [tensor(names[0], 3 * ONES), tensor(names[1], ONES)]
    answer = outputs(ask(runtime, *inputs))
    assert answer["OUTPUT__0"].tolist() == (4 * ONES).tolist()
    assert answer["OUTPUT__1"].tolist() == (2 * ONES).tolist()
    (one,) = outputs(ask(runtime, *inputs, outputs=["OUTPUT__1"])).items()
    assert one[0] == "OUTPUT__1"


@pytest.mark.parametrize("names", [("INPUT__0", "INPUT__1"), ("x", "y"), ("first", "second")])
def test_the_order_of_a_request_does_not_matter(tmp_path, runtime, names):
    script(tmp_path, Pair())
    runtime.load(context_of(tmp_path, inputs=names, outputs=("OUTPUT__0", "OUTPUT__1")))
    answer = outputs(ask(runtime, tensor(names[1], ONES), tensor(names[0], 3 * ONES)))
    assert answer["OUTPUT__1"].tolist() == (2 * ONES).tolist()


class Counted(torch.nn.Module):
    def forward(self, row, counts, start):
        return row * 2, counts, start


SERVER_INPUTS = """{
    "name": "m", "max_batch_size": 4,
    "input": [{"name": "ROW", "data_type": "TYPE_FP32", "dims": [-1], "allow_ragged_batch": true}],
    "output": [
        {"name": "DOUBLED", "data_type": "TYPE_FP32", "dims": [-1]},
        {"name": "TOLD", "data_type": "TYPE_INT32", "dims": [1], "reshape": {"shape": []}},
        {"name": "STARTS", "data_type": "TYPE_FP32", "dims": [1]}
    ],
    "batch_input": [{"kind": "BATCH_ELEMENT_COUNT", "target_name": ["COUNTS"],
                     "data_type": "TYPE_INT32", "source_input": ["ROW"]}],
    "batch_output": [{"target_name": ["DOUBLED"], "source_input": ["ROW"]}],
    "sequence_batching": {"control_input": [{"name": "START", "control": [
        {"kind": "CONTROL_SEQUENCE_START", "fp32_false_true": [0, 1]}]}]}
}"""


def test_what_the_server_gives_comes_behind_the_inputs_of_clients(tmp_path, runtime):
    script(tmp_path, Counted())
    told = signature(("ROW",), ("DOUBLED", "STARTS"))
    counts = TensorSpec(name="TOLD", datatype=Datatype.INT32, shape=None)
    of_outputs = (told.outputs[0], counts, told.outputs[1])
    config = ModelConfig(signature=Signature(inputs=told.inputs, outputs=of_outputs))
    runtime.load(triton_context(tmp_path, config=config, config_json=SERVER_INPUTS))

    def request(*values, start):
        row = tensor("ROW", np.array([values], dtype=np.float32))
        return PlainRequest(tensor("START", np.array([[start]], dtype=np.float32)), row)

    answers = runtime.execute([request(1, 2, start=1), request(3, start=0)])
    found = [outputs(one) for one in answers]
    assert [one["DOUBLED"].tolist() for one in found] == [[[2, 4]], [[6]]]
    assert [one["TOLD"].tolist() for one in found] == [[2], [1]]
    assert [one["STARTS"].tolist() for one in found] == [[[1]], [[0]]]


def test_a_module_may_work_in_place_on_what_it_is_given(tmp_path, runtime):
    class InPlace(torch.nn.Module):
        def forward(self, x):
            return x.add_(1)

    script(tmp_path, InPlace())
    runtime.load(context_of(tmp_path))
    assert outputs(ask(runtime, tensor("INPUT__0", ONES)))["OUTPUT__0"].tolist() == [[2.0] * 3] * 2
    assert ONES.max() == 1.0


def test_requests_that_are_alike_are_one_call(tmp_path, runtime):
    script(tmp_path, Pair())
    runtime.load(context_of(tmp_path, inputs=("x", "y")))
    rows = []
    model = runtime._model
    runtime._model = lambda x, y: rows.append(len(x)) or model(x, y)
    asked = [PlainRequest(tensor("x", n * ONES), tensor("y", ONES)) for n in (1, 2)]
    answers = runtime.execute(asked)
    assert rows == [4]
    assert [outputs(answer)["OUTPUT__0"][0, 0] for answer in answers] == [2.0, 3.0]


@pytest.mark.parametrize("weights", [None, 5.0])
def test_code_is_loaded_with_its_saved_state_if_there_is_one(tmp_path, runtime, weights):
    code(tmp_path, CODE)
    if weights is not None:
        torch.save({"factor": torch.tensor(weights)}, str(tmp_path / "1" / "model.pt"))
    runtime.load(context_of(tmp_path, inputs=("x",)))
    answer = outputs(ask(runtime, tensor("x", ONES)))["OUTPUT__0"]
    assert answer.tolist() == ((weights or 2.0) * ONES).tolist()


@pytest.mark.parametrize(
    "datatype",
    ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"],
)
@pytest.mark.parametrize("shape", [(2, 2), (0, 3), ()])
def test_every_datatype_goes_in_and_out(tmp_path, runtime, datatype, shape):
    code(tmp_path, "import torch\nclass Same(torch.nn.Module):\n    def forward(self, x): return x")
    runtime.load(context_of(tmp_path, inputs=(), outputs=()))
    given = np.ones(shape, dtype=datatype)
    answer = outputs(ask(runtime, tensor("x", given)))["OUTPUT__0"]
    assert (answer.dtype, answer.shape) == (given.dtype, shape)
    assert answer.tolist() == given.tolist()


def test_texts_are_lists_of_str(tmp_path, runtime):
    code(
        tmp_path,
        """
        import torch
        class Upper(torch.nn.Module):
            def forward(self, x): return [word.upper() for word in x]
        """,
    )
    runtime.load(context_of(tmp_path, inputs=(), outputs=()))
    assert outputs(ask(runtime, tensor("x", texts("a", "é"))))["OUTPUT__0"].tolist() == [
        b"A",
        "É".encode(),
    ]


def test_a_failure_of_the_module_is_told_in_tritons_words(tmp_path, runtime):
    script(tmp_path, torch.nn.Linear(3, 1))
    runtime.load(context_of(tmp_path))
    failure = ask(runtime, tensor("INPUT__0", ONES[:, :1])).failure
    assert failure.code is ErrorCode.MODEL_FAILED
    assert failure.message.startswith("PyTorch execute failure: ")


def test_an_output_of_another_datatype_than_declared_is_an_error(tmp_path, runtime):
    code(tmp_path, CODE)
    config = ModelConfig(signature=signature(["x"], ["y"], Datatype.INT64))
    runtime.load(triton_context(tmp_path, config=config))
    failure = ask(runtime, tensor("x", ONES)).failure
    assert failure.message == (
        "configuration expects datatype TYPE_INT64 for output 'y', model provides TYPE_FP32"
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = 1", r"must define one subclass of torch\.nn\.Module; it has none"),
        (CODE + "class Other(torch.nn.Module): ...", "it has Scale, Other"),
        ("import not_there", "No module named 'not_there'"),
    ],
)
def test_code_that_is_no_module_is_refused_with_the_reason(tmp_path, runtime, text, told):
    code(tmp_path, text)
    with pytest.raises(LoadError, match=told):
        runtime.load(context_of(tmp_path))


def test_inputs_that_can_not_be_placed_are_refused_at_the_load(tmp_path, runtime):
    script(tmp_path, Pair())
    with pytest.raises(InvalidRequest, match="needs each from 0 on once"):
        runtime.load(context_of(tmp_path, inputs=("INPUT__1", "INPUT__2")))


def test_a_number_of_threads_is_the_configurations(tmp_path, runtime):
    script(tmp_path, Pair())
    before = torch.get_num_threads()
    try:
        runtime.load(context_of(tmp_path, parameters={"INTRA_OP_THREAD_COUNT": "3"}))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    with pytest.raises(LoadError, match="'INTRA_OP_THREAD_COUNT' is 'x'; it must be a number"):
        runtime.load(context_of(tmp_path, parameters={"INTRA_OP_THREAD_COUNT": "x"}))


def test_without_pytorch_the_extra_is_named(tmp_path, runtime, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(LoadError, match=r"pip install 'mpserve\[pytorch\]'"):
        runtime.load(context_of(tmp_path))
