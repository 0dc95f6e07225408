"""Requests and responses of plain Python values: what runtimes need of the native ones."""

import itertools
import json
from pathlib import Path

import msgspec
import numpy as np

from mpserve.model.config import ModelConfig
from mpserve.model.tensor import Datatype
from mpserve.runtimes.protocol import LoadContext

_DATATYPES = {
    np.dtype(kind): Datatype[word].name
    for word, kind in {
        "BOOL": "bool",
        "UINT8": "uint8",
        "UINT16": "uint16",
        "UINT32": "uint32",
        "UINT64": "uint64",
        "INT8": "int8",
        "INT16": "int16",
        "INT32": "int32",
        "INT64": "int64",
        "FP16": "float16",
        "FP32": "float32",
        "FP64": "float64",
        "BYTES": "object",
    }.items()
}


class PlainTensor:
    """A tensor around an array; an input's array is read-only, as a view of shared memory is."""

    def __init__(self, name, array, parameters_json=""):
        self._name = name
        self._array = np.asarray(array)
        self._parameters_json = parameters_json

    def name(self):
        return self._name

    def as_numpy(self):
        view = self._array.view()
        view.flags.writeable = False
        return view

    def shape(self):
        return list(self._array.shape)

    def datatype_name(self):
        return _DATATYPES[self._array.dtype]

    def parameters_json(self):
        return self._parameters_json


class PlainRequest:
    def __init__(
        self,
        *inputs,
        request_id="",
        parameters=None,
        outputs=(),
        output_parameters=None,
        headers=b"",
    ):
        self._headers = headers
        self._inputs = list(inputs)
        self._id = request_id
        self._parameters = json.dumps(parameters) if parameters else ""
        self._outputs = list(outputs)
        self._output_parameters = output_parameters or {}

    def request_id(self):
        return self._id

    def inputs(self):
        return self._inputs

    def parameters(self):
        return self._parameters

    def requested_output_names(self):
        return self._outputs

    def output_parameters_json(self, name):
        given = self._output_parameters.get(name)
        return json.dumps(given) if given else ""

    def likeness(self):
        shapes = [tensor.shape() for tensor in self._inputs]
        if self.is_handler_call() or not shapes or not all(shapes):
            return None
        if len({shape[0] for shape in shapes}) > 1:
            return None
        outputs = [(name, self.output_parameters_json(name)) for name in self._outputs]
        inputs = [
            (tensor.name(), tensor.datatype_name(), tensor.shape()[1:], tensor.parameters_json())
            for tensor in self._inputs
        ]
        return repr((self._parameters, outputs, inputs)).encode()

    def headers(self):
        return self._headers

    def takes_many(self):
        return False

    def has_more_inputs(self):
        return False

    def is_handler_call(self):
        return False


class PlainResponse:
    def __init__(self, tensors=(), failure=None, parameters_json=""):
        self._tensors = list(tensors)
        self.failure = failure
        self.parameters_json = parameters_json

    def output_tensors(self):
        return self._tensors

    def has_error(self):
        return self.failure is not None


class PlainResponses:
    """Builds plain responses; satisfies `ResponseBuilder`."""

    def answer(self, answer):
        tensors = [
            PlainTensor(output.name, output.array, output.parameters_json)
            for output in answer.outputs
        ]
        return PlainResponse(tensors, parameters_json=answer.parameters_json)

    def answer_rows(self, answer, rows):
        if any(np.shape(output.array)[:1] != (sum(rows),) for output in answer.outputs):
            return None
        ends = itertools.accumulate(rows)
        return [
            self.answer(
                msgspec.structs.replace(
                    answer,
                    outputs=[
                        msgspec.structs.replace(output, array=output.array[end - count : end])
                        for output in answer.outputs
                    ],
                )
            )
            for count, end in zip(rows, ends, strict=True)
        ]

    def refuse(self, failure):
        return PlainResponse(failure=failure)


def tensor(name, array, **parameters):
    return PlainTensor(name, array, json.dumps(parameters) if parameters else "")


def texts(*elements):
    array = np.empty(len(elements), dtype=object)
    array[:] = [element if isinstance(element, bytes) else element.encode() for element in elements]
    return array


def outputs(response):
    """The outputs of a response by name, in order; fails with the error if there is one."""
    assert not response.has_error(), response.failure
    return {output.name(): output.as_numpy() for output in response.output_tensors()}


def triton_context(directory: Path, **changes) -> LoadContext:
    context = LoadContext(
        model_name="m",
        version="1",
        instance_name="m_0",
        instance_kind="KIND_CPU",
        model_directory=str(directory),
        version_directory=str(directory / "1"),
        config=ModelConfig(),
        config_json='{"name":"m"}',
        settings_json="",
        complete_config=True,
    )
    return msgspec.structs.replace(context, **changes)


def mlserver_context(directory: Path, settings: dict, **changes) -> LoadContext:
    context = LoadContext(
        model_name=settings.get("name", "m"),
        version="",
        instance_name="m_0",
        instance_kind="KIND_CPU",
        model_directory=str(directory),
        version_directory=str(directory),
        config=ModelConfig(),
        config_json="",
        settings_json=json.dumps(settings),
        complete_config=True,
    )
    return msgspec.structs.replace(context, **changes)
