"""The model repositories that scenarios need, in the form that each kind of server reads.

The models do as little as a real one can: what is measured is the server.
"""

import enum
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

INSTANCES: Final = "@INSTANCES@"
NAME: Final = "@NAME@"  # stands for the model's name in paths and texts
# A batch that is full waits no longer; 5, 50 and 200 ms cost MLServer the same within its noise.
MLSERVER_BATCH_TIME_S: Final = 0.005


class Layout(enum.Enum):
    """How a repository describes a model."""

    TRITON = "triton"  # MODEL/config.pbtxt and MODEL/1/model.py
    MLSERVER = "mlserver"  # MODEL/model-settings.json and a module beside it


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One model in both layouts: file texts by path inside the model's folder."""

    name: str
    triton: dict[str, str]
    mlserver: dict[str, str]
    needs_digits: bool = False


def write_model(  # what a model is made of
    folder: Path,
    model: str,
    *,
    layout: Layout,
    train: Callable[[Path], None],
    versions: int = 1,
    instances: int = 1,
) -> None:
    """Write `model` into `folder`, whose name becomes the model's.

    Parameters
    ----------
    folder
        Its folder in the repository; it is made.
    model
        A name of `MODELS`.
    layout
        The form to write.
    train
        Called with the path where a trained digits classifier has to lie, when the model needs one.
    versions, instances
        How many versions, all of them served, and how many instances of each; more than one only
        in Triton's layout.
    """
    source = MODELS[model]
    files = source.triton if layout is Layout.TRITON else source.mlserver
    for path, text in files.items():
        target = folder / path.replace(NAME, folder.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text.replace(NAME, folder.name).replace(INSTANCES, str(instances)))
    if source.needs_digits:
        train(folder / ("1/model.joblib" if layout is Layout.TRITON else "model.joblib"))
    for version in range(2, versions + 1):
        shutil.copytree(folder / "1", folder / str(version))


def _config(inputs: tuple[str, str], outputs: tuple[str, str]) -> str:
    return f"""\
name: "{NAME}"
backend: "python"
max_batch_size: 0
input [ {{ name: "{inputs[0]}" data_type: {inputs[1]} dims: [ -1, -1 ] }} ]
output [ {{ name: "{outputs[0]}" data_type: {outputs[1]} dims: [ -1, -1 ] }} ]
instance_group [ {{ kind: KIND_CPU count: {INSTANCES} }} ]
version_policy {{ all {{ }} }}
"""


def _python_model(expression: str) -> str:
    return f"""\
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            x = pb_utils.get_input_tensor_by_name(request, "INPUT0").as_numpy()
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT0", {expression})]))
        return responses
"""


def _mlmodel(expression: str) -> str:
    return f"""\
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class BenchModel(MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        x = NumpyCodec.decode_input(payload.inputs[0])
        output = NumpyCodec.encode_output("OUTPUT0", {expression})
        return InferenceResponse(model_name=self.name, outputs=[output])
"""


def _float_model(name: str, expression: str) -> Model:
    settings = {"name": NAME, "implementation": f"{NAME}_model.BenchModel"}
    return Model(
        name=name,
        triton={
            "config.pbtxt": _config(("INPUT0", "TYPE_FP32"), ("OUTPUT0", "TYPE_FP32")),
            "1/model.py": _python_model(expression),
        },
        mlserver={
            "model-settings.json": json.dumps(settings),
            f"{NAME}_model.py": _mlmodel(expression),
        },
    )


def _scheduled_model(name: str, *, work: str = "", batching: str = "") -> Model:
    """Return a model that takes batches, and does some work once for each execution."""
    plain = _float_model(name, "x + 1")
    config = plain.triton["config.pbtxt"].replace("max_batch_size: 0", "max_batch_size: 16")
    begin = "    def execute(self, requests):\n"
    code = plain.triton["1/model.py"].replace(begin, f"{begin}        {work}\n" if work else begin)
    return Model(
        name=name,
        triton={
            "config.pbtxt": config.replace("dims: [ -1, -1 ]", "dims: [ 16 ]") + batching,
            "1/model.py": "import time\n\n" + code,
        },
        mlserver=plain.mlserver,
    )


_SLEEP_2_MS: Final = "time.sleep(0.002)"
_SEQUENCES: Final = """\
sequence_batching {
  max_sequence_idle_microseconds: 60000000
  oldest { max_candidate_sequences: 128 }
}
"""
_SPIN: Final = "sum(number * number for number in range(60_000))"  # some ms of pure Python


def _digits() -> Model:
    settings = {
        "name": NAME,
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": "./model.joblib"},
    }
    return Model(
        name="digits",
        triton={
            "config.pbtxt": _config(("predict", "TYPE_FP64"), ("predict", "TYPE_INT64")),
            "1/model.py": _DIGITS_MODEL,
        },
        mlserver={"model-settings.json": json.dumps(settings)},
        needs_digits=True,
    )


_DIGITS_MODEL: Final = """\
from pathlib import Path

import joblib
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self._classifier = joblib.load(Path(__file__).with_name("model.joblib"))

    def execute(self, requests):
        responses = []
        for request in requests:
            x = pb_utils.get_input_tensor_by_name(request, "predict").as_numpy()
            digits = self._classifier.predict(x).reshape(-1, 1)
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("predict", digits)]))
        return responses
"""


def _digits_batched(rows: int) -> Model:
    """Return the classifier with batching on, in each server's own way: one predict for a batch."""
    plain = _digits()
    settings = json.loads(plain.mlserver["model-settings.json"])
    settings |= {"max_batch_size": rows, "max_batch_time": MLSERVER_BATCH_TIME_S}
    config = plain.triton["config.pbtxt"].replace("max_batch_size: 0", f"max_batch_size: {rows}")
    config = config.replace("dims: [ -1, -1 ]", "dims: [ 64 ]", 1)
    return Model(
        name=f"digits_batched_{rows}",
        triton={
            "config.pbtxt": config.replace("dims: [ -1, -1 ]", "dims: [ 1 ]")
            + "dynamic_batching { }\n",
            "1/model.py": _DIGITS_BATCHED_MODEL,
        },
        mlserver={"model-settings.json": json.dumps(settings)},
        needs_digits=True,
    )


_DIGITS_BATCHED_MODEL: Final = """\
from pathlib import Path

import joblib
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self._classifier = joblib.load(Path(__file__).with_name("model.joblib"))

    def execute(self, requests):
        inputs = [
            pb_utils.get_input_tensor_by_name(request, "predict").as_numpy() for request in requests
        ]
        digits = self._classifier.predict(np.concatenate(inputs)).reshape(-1, 1)
        responses = []
        begin = 0
        for rows in inputs:
            end = begin + len(rows)
            output = pb_utils.Tensor("predict", digits[begin:end])
            responses.append(pb_utils.InferenceResponse([output]))
            begin = end
        return responses
"""


def _caller() -> Model:
    """Return a model whose answer is that of `simple`."""
    plain = _float_model("caller", "x + 1")
    triton = {**plain.triton, "1/model.py": _CALLER_MODEL}
    return Model(name="caller", triton=triton, mlserver=plain.mlserver)


_CALLER_MODEL: Final = """\
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        x = pb_utils.get_input_tensor_by_name(request, "INPUT0").as_numpy()
        inner = pb_utils.InferenceRequest(
            model_name="simple",
            requested_output_names=["OUTPUT0"],
            inputs=[pb_utils.Tensor("INPUT0", x)],
        ).exec()
        if inner.has_error():
            raise pb_utils.TritonModelException(inner.error().message())
        found = pb_utils.get_output_tensor_by_name(inner, "OUTPUT0").as_numpy()
        return pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT0", found)])
"""

MODELS: Final = {
    model.name: model
    for model in (
        _float_model(
            "simple", "x + 1"
        ),  # computes, so that the check of an answer proves that the model ran
        _float_model("identity", "x"),
        _scheduled_model("sleeper", work=_SLEEP_2_MS),
        _scheduled_model("sleeper_batched", work=_SLEEP_2_MS, batching="dynamic_batching { }\n"),
        _scheduled_model("unbatched"),
        _scheduled_model(
            "no_delay", batching="dynamic_batching { max_queue_delay_microseconds: 0 }\n"
        ),
        _scheduled_model("sequenced", batching=_SEQUENCES),
        _scheduled_model("spinner", work=_SPIN),
        _digits(),
        _digits_batched(16),
        _digits_batched(64),
        _caller(),
    )
}
