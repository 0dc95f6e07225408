"""Model repositories of the protocol tests, written on demand."""

import json
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Final

IDENTITY = dedent(
    """
    import triton_python_backend_utils as pb_utils

    def same(tensor):
        name = tensor.name().replace("IN", "OUT", 1)
        if name.endswith("BF16"):  # numpy has no such type, and Triton's stub does not tell it
            return pb_utils.Tensor.from_dlpack(name, tensor.to_dlpack())
        return pb_utils.Tensor(name, tensor.as_numpy())

    class TritonPythonModel:
        def execute(self, requests):
            responses = []
            for request in requests:
                outputs = [same(tensor) for tensor in request.inputs()]
                wanted = set(request.requested_output_names())
                responses.append(
                    pb_utils.InferenceResponse([one for one in outputs if one.name() in wanted])
                )
            return responses
    """
)
TELLER = dedent(
    """
    import json
    import numpy
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        def execute(self, requests):
            responses = []
            for request in requests:
                told = {
                    "id": request.request_id(),
                    "correlation_id": request.correlation_id(),
                    "flags": request.flags(),
                    "parameters": json.loads(request.parameters() or "{}"),
                }
                text = numpy.array([json.dumps(told).encode()], dtype=numpy.object_)
                responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("TOLD", text)]))
            return responses
    """
)
SLOW = dedent(
    """
    import time
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        def execute(self, requests):
            responses = []
            for request in requests:
                seconds = pb_utils.get_input_tensor_by_name(request, "SECONDS").as_numpy()
                time.sleep(float(seconds[0]))
                responses.append(
                    pb_utils.InferenceResponse([pb_utils.Tensor("SLEPT", seconds)])
                )
            return responses
    """
)
RAISING = dedent(
    """
    class TritonPythonModel:
        def execute(self, requests):
            raise ValueError("this model never works")
    """
)
MLSERVER_ECHO = dedent(
    """
    from mlserver import MLModel
    from mlserver.types import InferenceResponse, Parameters, ResponseOutput

    class Echo(MLModel):
        async def load(self):
            return True

        async def predict(self, payload):
            first = payload.inputs[0]
            output = ResponseOutput(
                name="out",
                shape=first.shape,
                datatype=first.datatype,
                data=first.data,
                parameters=Parameters(content_type="np"),
            )
            return InferenceResponse(model_name=self.name, outputs=[output])
    """
)
WORDS = (
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "FP32", "FP64", "STRING", "BF16",
)  # fmt: skip


def write_triton(folder: Path, *, source: str, config: str, labels: str = "") -> None:
    """Write a Python-backend model with one version."""
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.py").write_text(source)
    (folder / "config.pbtxt").write_text('backend: "python"\n' + config)
    if labels:
        (folder / "labels.txt").write_text(labels)


def tensors(kind: str, *specs: tuple[str, str, list[int]], more: str = "") -> str:
    """Return config text of inputs or outputs: (name, config type, dims) each."""
    return "\n".join(
        f'{kind} [{{ name: "{name}" data_type: {word} dims: {dims} {more} }}]'
        for name, word, dims in specs
    )


def write_identity(root: Path) -> Path:
    """Write a repository with one model `m`, which gives a vector back; return the repository."""
    write_triton(
        root / "m",
        source=IDENTITY,
        config=tensors("input", ("IN", "TYPE_FP32", [-1]))
        + tensors("output", ("OUT", "TYPE_FP32", [-1])),
    )
    return root


def all_types(words: tuple[str, ...]) -> str:
    """Return config text of a vector of each type, in and out."""
    inputs = ((f"IN_{word}", f"TYPE_{word}", [-1]) for word in words)
    outputs = ((f"OUT_{word}", f"TYPE_{word}", [-1]) for word in words)
    return tensors("input", *inputs, more="optional: true") + tensors("output", *outputs)


def write_named(root: Path, *names: str) -> Path:
    """Write models of `TRITON_MODELS`."""
    for name in names:
        write_triton(root / name, **TRITON_MODELS[name])
    return root


def triton_repository(root: Path) -> Path:
    """Write the models that the tests of Triton's dialect use."""
    return write_named(root, *TRITON_MODELS)


TRITON_MODELS: Final[Mapping[str, Mapping[str, str]]] = {
    "m": {
        "source": IDENTITY,
        "config": "max_batch_size: 8\n"
        + tensors("input", ("INPUT0", "TYPE_FP32", [4]))
        + tensors("output", ("OUTPUT0", "TYPE_FP32", [4]), more='label_filename: "labels.txt"'),
        "labels": "zero\none\ntwo\nthree\n",
    },
    "all_types": {"source": IDENTITY, "config": all_types(WORDS)},
    "text": {
        "source": IDENTITY,
        "config": tensors("input", ("IN", "TYPE_STRING", [1]))
        + tensors("output", ("OUT", "TYPE_STRING", [1])),
    },
    "pair": {
        "source": IDENTITY,
        "config": tensors("input", ("INA", "TYPE_INT32", [-1, -1]), ("INB", "TYPE_INT32", [-1, -1]))
        + tensors("output", ("OUTA", "TYPE_INT32", [-1, -1]), ("OUTB", "TYPE_INT32", [-1, -1])),
    },
    "teller": {
        "source": TELLER,
        "config": tensors("input", ("IN", "TYPE_FP32", [1]))
        + tensors("output", ("TOLD", "TYPE_STRING", [1])),
    },
    "slow": {
        "source": SLOW,
        "config": tensors("input", ("SECONDS", "TYPE_FP32", [1]))
        + tensors("output", ("SLEPT", "TYPE_FP32", [1])),
    },
    "raising": {
        "source": RAISING,
        "config": tensors("input", ("IN", "TYPE_FP32", [1]))
        + tensors("output", ("OUT", "TYPE_FP32", [1])),
    },
}


def mlserver_repository(root: Path) -> Path:
    """Write the models that the tests of MLServer's dialect use."""
    write_mlserver(root / "echo", "model.Echo", source=MLSERVER_ECHO)
    write_mlserver(root / "versioned", "model.Echo", source=MLSERVER_ECHO, version="v0.1.0")
    write_mlserver(root / "broken", "nowhere.Nothing")
    return root


def write_mlserver(
    folder: Path, implementation: str, *, source: str = "", **parameters: str
) -> None:
    """Write a model of MLServer's; `source` is that of its `model.py`."""
    folder.mkdir(parents=True)
    if source:
        (folder / "model.py").write_text(source)
    settings = {
        "name": folder.name,
        "implementation": implementation,
        "parameters": parameters,
    }
    (folder / "model-settings.json").write_text(json.dumps(settings))
