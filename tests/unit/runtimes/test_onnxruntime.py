import json
import sys

import numpy as np
import pytest

from mpserve.errors import ErrorCode, InvalidRequest, LoadError
from mpserve.model.config import ModelConfig
from mpserve.model.signature import TensorSpec
from mpserve.model.tensor import Datatype
from mpserve.model.triton.config_json import encode_config
from mpserve.model.triton.normalization import (
    fill_backend,
    normalize,
    normalize_instance_groups,
)
from mpserve.model.triton.summary import summarize
from mpserve.repository.triton.pbtxt import parse_text_config
from mpserve.runtimes.onnxruntime import OnnxRuntime
from tests.fixtures import onnx_models

from .conformance import RuntimeConformance
from .plain import (
    PlainRequest,
    PlainResponses,
    mlserver_context,
    outputs,
    tensor,
    texts,
    triton_context,
)

pytest.importorskip("onnxruntime")

ONES = np.ones((2, 4), dtype=np.float32)


@pytest.fixture
def runtime():
    runtime = OnnxRuntime(PlainResponses())
    yield runtime
    runtime.unload()


def triton(folder, pbtxt="", **changes):
    config = normalize(parse_text_config(f'name: "m" {pbtxt}', path="config.pbtxt"))
    config = fill_backend(config, version_entries=["model.onnx"])
    config = normalize_instance_groups(config, gpus=())
    return triton_context(
        folder, config=summarize(config), config_json=encode_config(config), **changes
    )


@pytest.fixture
def load(tmp_path, runtime):
    def load(pbtxt="", make=onnx_models.sum_and_difference, **model):
        make(tmp_path / "1" / "model.onnx", **model)
        return runtime.load(triton(tmp_path, pbtxt))

    return load


def ask(runtime, *inputs, **options):
    return runtime.execute([PlainRequest(*inputs, **options)])[0]


def pair(first=ONES, second=ONES):
    return tensor("INPUT0", first), tensor("INPUT1", second)


class TestConformance(RuntimeConformance):
    registered_name = "onnxruntime"

    @pytest.fixture
    def runtime(self):
        return OnnxRuntime(PlainResponses())

    @pytest.fixture
    def context(self, tmp_path):
        onnx_models.sum_and_difference(tmp_path / "model.onnx")
        return mlserver_context(tmp_path, {"name": "m"})

    @pytest.fixture
    def broken_context(self, tmp_path):
        (tmp_path / "model.onnx").write_bytes(b"junk")
        return mlserver_context(tmp_path, {"name": "m"})

    @pytest.fixture
    def good_request(self):
        return PlainRequest(*pair())

    @pytest.fixture
    def bad_request(self):
        return PlainRequest(tensor("INPUT0", ONES[:, :1]), tensor("INPUT1", ONES))


def test_outputs_come_in_the_models_order_or_as_asked_for(load, runtime):
    load()
    answer = outputs(ask(runtime, *pair(ONES * 3)))
    assert list(answer) == ["OUTPUT0", "OUTPUT1"]
    assert answer["OUTPUT0"].tolist() == [[4.0] * 4] * 2
    assert answer["OUTPUT1"].tolist() == [[2.0] * 4] * 2
    assert list(outputs(ask(runtime, *pair(), outputs=["OUTPUT1"]))) == ["OUTPUT1"]


def test_a_configuration_is_completed_from_the_file(load):
    completed = load()
    whole = json.loads(completed.config_json)
    assert whole["max_batch_size"] == 4
    assert whole["dynamic_batching"]["preferred_batch_size"] == [4]
    assert [(one["name"], one["data_type"], one["dims"]) for one in whole["input"]] == [
        ("INPUT0", "TYPE_FP32", [4]), ("INPUT1", "TYPE_FP32", [4])
    ]  # fmt: skip
    assert [one["name"] for one in whole["output"]] == ["OUTPUT0", "OUTPUT1"]
    assert completed.config.signature.inputs[0].shape == (-1, 4)
    assert completed.config.batching is not None


def test_a_model_whose_first_dimension_is_fixed_does_not_batch(load):
    completed = load(rows=2)
    assert completed.config.signature.max_batch_size == 0
    assert completed.config.signature.inputs[0].shape == (2, 4)
    assert completed.config.batching is None


def test_dims_with_the_batch_dimension_mean_that_there_is_no_batching(load):
    completed = load('input { name: "INPUT0" dims: [-1, 4] } input { name: "INPUT1" }')
    assert completed.config.signature.max_batch_size == 0
    assert [spec.shape for spec in completed.config.signature.inputs] == [(-1, 4), (-1, 4)]


def test_what_the_configuration_says_stays(load):
    completed = load("max_batch_size: 16 dynamic_batching { max_queue_delay_microseconds: 7 }")
    assert completed.config.signature.max_batch_size == 16
    assert completed.config.batching.max_delay_us == 7


def test_a_scalar_is_completed_with_a_reshape(load, runtime):
    whole = json.loads(
        load(make=onnx_models.same, kind=onnx_models.FLOAT, shape=["rows"]).config_json
    )
    assert (whole["input"][0]["dims"], whole["input"][0]["reshape"]) == ([1], {"shape": []})


@pytest.mark.parametrize(
    ("pbtxt", "model", "text"),
    [
        ("max_batch_size: 8", {"rows": 2},
         "autofill failed for model 'm': model does not support batching while non-zero"
         " max_batch_size is specified"),
        ('input { name: "NO" data_type: TYPE_FP32 dims: [4] }', {},
         "unexpected inference input 'NO', allowed inputs are: INPUT0, INPUT1"),
        ('output { name: "NO" data_type: TYPE_FP32 dims: [4] }', {},
         "unexpected inference output 'NO', allowed outputs are: OUTPUT0, OUTPUT1"),
        ('input { name: "INPUT0" data_type: TYPE_INT8 } input { name: "INPUT1" }', {},
         "unable to load model 'm', configuration expects datatype TYPE_INT8 for input 'INPUT0',"
         " model provides TYPE_FP32"),
        ('max_batch_size: 2 input { name: "INPUT0" dims: [5] } input { name: "INPUT1" }', {},
         "model 'm', tensor 'INPUT0': the model expects 2 dimensions (shape [-1,4]) but the model"
         " configuration specifies 2 dimensions (shape [-1,5])"),
        ('input { name: "INPUT0" }', {},
         "failed to load model 'm', configuration expects 1 inputs, model provides 2"),
    ],
)  # fmt: skip
def test_a_configuration_that_contradicts_the_file_is_refused(load, pbtxt, model, text):
    with pytest.raises(InvalidRequest) as refused:
        load(pbtxt, **model)
    assert refused.value.message == text


def test_a_whole_configuration_is_checked_though_nothing_is_completed(tmp_path, runtime):
    onnx_models.sum_and_difference(tmp_path / "1" / "model.onnx")
    with pytest.raises(InvalidRequest, match="unexpected inference input 'NO'"):
        runtime.load(triton(tmp_path, 'input { name: "NO" }', complete_config=False))


def test_requests_that_are_alike_are_one_run(load, runtime):
    load()
    runs = []
    session = runtime._session

    class Counting:
        def run(self, names, feeds):
            runs.append(feeds["INPUT0"].shape)
            return session.run(names, feeds)

    runtime._session = Counting()
    answers = runtime.execute([PlainRequest(*pair(ONES * n)) for n in (1, 2, 3)])
    assert runs == [(6, 4)]
    assert [outputs(answer)["OUTPUT0"][0, 0] for answer in answers] == [2.0, 3.0, 4.0]


RAGGED = """
max_batch_size: 4
input { name: "IN" dims: [-1] allow_ragged_batch: true }
output { name: "DOUBLED" dims: [-1] }
output { name: "COUNTS_TOLD" dims: [1] reshape { shape: [] } }
batch_input {
  kind: BATCH_ACCUMULATED_ELEMENT_COUNT
  target_name: "COUNTS" data_type: TYPE_FP32 source_input: "IN"
}
batch_output { target_name: "DOUBLED" source_input: "IN" }
"""


def row(*values):
    return PlainRequest(tensor("IN", np.array([values], dtype=np.float32)))


def test_unlike_requests_are_a_row_of_elements_and_a_batch_input(load, runtime):
    load(RAGGED, make=onnx_models.ragged)
    answers = [outputs(one) for one in runtime.execute([row(1, 2), row(3, 4, 5)])]
    assert [one["DOUBLED"].tolist() for one in answers] == [[[2, 4]], [[6, 8, 10]]]
    assert [one["COUNTS_TOLD"].tolist() for one in answers] == [[2], [5]]


def test_what_the_server_gives_is_no_input_of_clients(load):
    completed = load(
        'input { name: "IN" dims: [-1] allow_ragged_batch: true } '
        + RAGGED[RAGGED.index("output") :],
        make=onnx_models.ragged,
    )
    assert [one.name for one in completed.config.signature.inputs] == ["IN"]
    assert completed.config.signature.max_batch_size == 4
    completed = load(
        "sequence_batching { control_input { "
        'name: "START" control { kind: CONTROL_SEQUENCE_START fp32_false_true: [0, 1] } } '
        'state { input_name: "WAS" output_name: "IS" data_type: TYPE_FP32 dims: [1] } }',
        make=onnx_models.running_sum,
    )
    assert [one.name for one in completed.config.signature.inputs] == ["IN"]
    assert [one.name for one in completed.config.signature.outputs] == ["SUM"]


@pytest.mark.parametrize(
    ("pbtxt", "model", "text"),
    [
        (RAGGED, {"row": ["rows", 4]},
         "unable to load model 'm', configuration expects model provides input with shape [-1] "
         " for ragged input 'IN', model provides [-1,4]"),
        (RAGGED.replace("allow_ragged", "optional: true allow_ragged"), {},
         "unable to load model 'm', configuration expects model provides input with shape [-1] "
         "for ragged input 'IN', which is not supported for optional input"),
        (RAGGED.replace('"COUNTS"', '"NO"'), {},
         "unexpected inference input 'NO', allowed inputs are: COUNTS, IN"),
        (RAGGED.replace("TYPE_FP32", "TYPE_INT32"), {},
         "unable to load model 'm', configuration expects datatype TYPE_INT32 for input 'COUNTS',"
         " model provides TYPE_FP32"),
    ],
)  # fmt: skip
def test_a_row_that_the_file_does_not_take_is_refused(load, pbtxt, model, text):
    with pytest.raises(InvalidRequest) as refused:
        load(pbtxt, make=onnx_models.ragged, **model)
    assert refused.value.message == text


_KINDS = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FLOAT16": np.float16,
    "FLOAT": np.float32,
    "DOUBLE": np.float64,
}


def directly(path, feeds, names=None):
    """What the library itself answers."""
    library = pytest.importorskip("onnxruntime")
    session = library.InferenceSession(path, providers=["CPUExecutionProvider"])
    wanted = names or [one.name for one in session.get_outputs()]
    return dict(zip(wanted, session.run(wanted, feeds), strict=True))


@pytest.mark.parametrize("shape", [(1, 3), (4, 0), (2, 5)])
@pytest.mark.parametrize("kind", _KINDS)
def test_every_datatype_goes_in_and_out_as_the_library_has_it(load, runtime, tmp_path, kind, shape):
    load(make=onnx_models.same, kind=getattr(onnx_models.TensorProto, kind), shape=["r", "c"])
    numbers = np.arange(np.prod(shape)).reshape(shape)
    given = (numbers % 2 if kind == "BOOL" else numbers * 7 - 3).astype(_KINDS[kind])
    answer = outputs(ask(runtime, tensor("IN", given)))["OUT"]
    expected = directly(tmp_path / "1" / "model.onnx", {"IN": given})["OUT"]
    assert (answer.dtype, answer.shape) == (given.dtype, shape)
    assert np.array_equal(answer, expected)


def mixed(path):
    """Two inputs of unlike datatypes; outputs of other shapes and datatypes than they."""
    helper, proto = onnx_models.helper, onnx_models.TensorProto
    return onnx_models.save(
        path,
        [
            helper.make_node("Cast", ["COUNT"], ["as_float"], to=proto.FLOAT),
            helper.make_node("Mul", ["VALUE", "as_float"], ["PRODUCT"]),
            helper.make_node("Greater", ["PRODUCT", "as_float"], ["IS_MORE"]),
            helper.make_node("ReduceSum", ["PRODUCT"], ["TOTAL"], keepdims=1),
            helper.make_node("Cast", ["VALUE"], ["HALF"], to=proto.FLOAT16),
        ],
        [
            onnx_models.value("VALUE", proto.FLOAT, ["r", "c"]),
            onnx_models.value("COUNT", proto.INT8, ["r", "c"]),
        ],
        [
            onnx_models.value("PRODUCT", proto.FLOAT, ["r", "c"]),
            onnx_models.value("IS_MORE", proto.BOOL, ["r", "c"]),
            onnx_models.value("TOTAL", proto.FLOAT, [1, 1]),
            onnx_models.value("HALF", proto.FLOAT16, ["r", "c"]),
        ],
    )


@pytest.mark.parametrize("names", [[], ["TOTAL"], ["HALF", "IS_MORE"], ["PRODUCT", "TOTAL"]])
def test_some_or_all_outputs_of_unlike_kinds_are_the_librarys(load, runtime, tmp_path, names):
    load("max_batch_size: 0", make=mixed)
    feeds = {
        "VALUE": np.linspace(-2, 3, 12, dtype=np.float32).reshape(3, 4),
        "COUNT": np.arange(-6, 6, dtype=np.int8).reshape(3, 4),
    }
    given = [tensor(name, feeds[name]) for name in ("COUNT", "VALUE")]  # not the graph's order
    answer = outputs(ask(runtime, *given, outputs=names))
    expected = directly(tmp_path / "1" / "model.onnx", feeds, names)
    assert list(answer) == list(expected)
    for name, array in expected.items():
        assert answer[name].dtype == array.dtype, name
        assert np.array_equal(answer[name], array), name


def test_requests_whose_answer_has_no_row_for_each_are_answered_one_by_one(load, runtime):
    load("max_batch_size: 0", make=mixed)
    requests = [
        PlainRequest(
            tensor("VALUE", np.full((2, 2), value, dtype=np.float32)),
            tensor("COUNT", np.ones((2, 2), dtype=np.int8)),
        )
        for value in (1, 2)
    ]
    totals = [outputs(answer)["TOTAL"].item() for answer in runtime.execute(requests)]
    assert totals == [4.0, 8.0]


def test_texts_go_in_and_out(load, runtime):
    load(make=onnx_models.same, kind=onnx_models.TEXT, shape=["rows", 2])
    given = texts("é", "a").reshape(1, 2)
    answer = ask(runtime, tensor("IN", given))
    assert outputs(answer)["OUT"].tolist() == [["é".encode(), b"a"]]


def test_what_the_graph_refuses_is_the_clients_mistake(load, runtime):
    load()
    failure = ask(runtime, tensor("INPUT0", ONES[:, :1]), tensor("INPUT1", ONES)).failure
    assert failure.code is ErrorCode.INVALID_ARGUMENT
    assert failure.message.startswith("onnx runtime error: ")
    failure = ask(runtime, *pair(), outputs=["OUTPUT1", "NO"]).failure
    assert failure.message == "unexpected inference output 'NO'; the model has OUTPUT0, OUTPUT1"


def test_the_tensors_of_a_model_of_mlservers_format_are_the_files(tmp_path, runtime):
    onnx_models.sum_and_difference(tmp_path / "model.onnx")
    completed = runtime.load(mlserver_context(tmp_path, {"name": "m"}))
    assert completed.config.signature.inputs == tuple(
        TensorSpec(name=name, datatype=Datatype.FP32, shape=(-1, 4))
        for name in ("INPUT0", "INPUT1")
    )
    assert completed.config.signature.open_outputs is False


def test_an_output_that_is_no_tensor_is_refused_with_the_way_out(load):
    def with_a_sequence(path):
        helper = onnx_models.helper
        kind = helper.make_sequence_type_proto(
            helper.make_tensor_type_proto(onnx_models.FLOAT, [1])
        )
        node = helper.make_node("SequenceConstruct", ["IN"], ["OUT"])
        return onnx_models.save(
            path,
            [node],
            [onnx_models.value("IN", onnx_models.FLOAT, [1])],
            [helper.make_value_info("OUT", kind)],
        )

    with pytest.raises(LoadError, match=r"'OUT' of the type seq\(tensor\(float\)\).*zipmap=False"):
        load(make=with_a_sequence)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [("many", "'many'; it must be a number"), ("-1", "'-1'; it must be a number")],
)
def test_a_number_of_threads_that_is_none_is_refused(tmp_path, runtime, parameters, text):
    onnx_models.sum_and_difference(tmp_path / "1" / "model.onnx")
    config = ModelConfig(parameters={"intra_op_thread_count": parameters})
    with pytest.raises(LoadError, match=text):
        runtime.load(triton_context(tmp_path, config=config))


def test_threads_mode_and_level_are_the_configurations(load, runtime):
    load(
        'parameters { key: "intra_op_thread_count" value { string_value: "3" } }'
        'parameters { key: "execution_mode" value { string_value: "1" } }'
        "optimization { graph { level: 2 } }"
    )
    options = runtime._session.get_session_options()
    library = sys.modules["onnxruntime"]
    assert options.intra_op_num_threads == 3
    assert options.execution_mode == library.ExecutionMode.ORT_PARALLEL
    assert options.graph_optimization_level == library.GraphOptimizationLevel.ORT_DISABLE_ALL


def test_without_onnxruntime_the_extra_is_named(tmp_path, runtime, monkeypatch):
    (tmp_path / "model.onnx").touch()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(LoadError, match=r"pip install 'mpserve\[onnxruntime\]'"):
        runtime.load(mlserver_context(tmp_path, {"name": "m"}))


def test_an_execution_accelerator_is_refused(load):
    accelerator = 'cpu_execution_accelerator { name: "openvino" }'
    with pytest.raises(LoadError, match="execution accelerator 'openvino' is not supported"):
        load(f"optimization {{ execution_accelerators {{ {accelerator} }} }}")


@pytest.mark.parametrize("name", ["ops.so", "/nowhere/ops.so"])
def test_a_library_of_operations_is_registered(load, tmp_path, name):
    (tmp_path / "ops.so").write_bytes(b"no library")
    with pytest.raises(LoadError, match=f"'{name}' is no library of operations") as refused:
        load(f'model_operations {{ op_library_filename: "{name}" }}')
    place = tmp_path / name  # an absolute path stays one
    assert str(place) in str(refused.value.__cause__)
