"""`mlserver.batching` for models that put requests together themselves."""

import asyncio

from mpserve.compat.mlserver.batching import BatchedRequests, Shape, load_batching
from mpserve.compat.mlserver.model import MLModel
from mpserve.compat.mlserver.settings import ModelSettings
from mpserve.compat.mlserver.types import (
    InferenceRequest,
    InferenceResponse,
    Parameters,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)


def request(rows, *, request_id=None, **parameters):
    data = [float(10 * row + column) for row in rows for column in range(2)]
    tensor = RequestInput(name="x", shape=[len(rows), 2], datatype="FP32", data=data)
    return InferenceRequest(
        id=request_id, inputs=[tensor], parameters=Parameters(**parameters) if parameters else None
    )


def test_requests_are_one_along_the_first_dimension():
    batched = BatchedRequests({"a": request([0]), "b": request([1, 2])})
    (tensor,) = batched.merged_request.inputs
    assert tensor.shape == [3, 2]
    assert tensor.data.root == [0.0, 1.0, 10.0, 11.0, 20.0, 21.0]
    assert (batched.merged_request.outputs, batched.merged_request.parameters) == (None, None)


def test_an_answer_is_split_by_rows():
    batched = BatchedRequests(
        {"a": request([0], request_id="1"), "b": request([1, 2], request_id="2")}
    )
    output = ResponseOutput(name="y", shape=[3], datatype="INT64", data=[7, 8, 9])
    parts = batched.split_response(InferenceResponse(model_name="m", outputs=[output]))
    assert {key: part.id for key, part in parts.items()} == {"a": "1", "b": "2"}
    assert [part.outputs[0].data.root for part in parts.values()] == [[7], [8, 9]]
    assert [part.outputs[0].shape for part in parts.values()] == [[1], [2]]


def test_parameters_of_each_are_kept_apart():
    batched = BatchedRequests(
        {"a": request([0], mine=1, content_type="np"), "b": request([1], mine=2)}
    )
    assert batched.merged_request.parameters == Parameters(content_type="np", mine=[1, 2])


def test_outputs_that_are_asked_for_stay():
    first = request([0])
    first.outputs = [RequestOutput(name="y")]
    merged = BatchedRequests({"a": first, "b": request([1])}).merged_request
    assert [output.name for output in merged.outputs] == ["y"]


def test_a_shape_counts_by_its_first_dimension():
    shape = Shape([3, 2, 4])
    other = shape.copy()
    other.batch_size = 5
    assert (shape.batch_size, shape.elem_size, other.to_list()) == (3, 8, [5, 2, 4])


def test_a_model_is_batched_already():
    settings = ModelSettings(implementation=MLModel, max_batch_size=4, max_batch_time=1.0)
    model = MLModel(settings)
    assert asyncio.run(load_batching(model)) is model
