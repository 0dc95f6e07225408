"""`decode_args`. Expected values are what MLServer 1.7.1 answered, unless a test's name says so."""

import asyncio
import datetime

import numpy as np
import pytest

from mpserve.compat.mlserver.codecs import decode_args
from mpserve.compat.mlserver.errors import CodecNotFound, InputsNotFound, OutputNotFound
from mpserve.compat.mlserver.model import MLModel
from mpserve.compat.mlserver.settings import ModelParameters, ModelSettings
from mpserve.compat.mlserver.types import InferenceRequest, Parameters, RequestInput


def tensor(name, data, datatype="INT32", content_type=None):
    return RequestInput(
        name=name,
        shape=[len(data)],
        datatype=datatype,
        data=data,
        parameters=Parameters(content_type=content_type) if content_type else None,
    )


def predict(method, *inputs):
    """Await a model of the decorated method with these inputs."""
    kind = type("Model", (MLModel,), {"predict": method})
    parameters = ModelParameters(version="v1")
    model = kind(ModelSettings(name="m", implementation=MLModel, parameters=parameters))
    return asyncio.run(model.predict(InferenceRequest(inputs=list(inputs))))


@decode_args
async def two(self, foo: np.ndarray, bar: list[str]) -> tuple[np.ndarray, list[str]]:
    return foo * 2, [text.upper() for text in bar]


def test_inputs_are_arguments_by_name_and_values_are_outputs_by_position():
    response = predict(two, tensor("bar", ["a"], "BYTES"), tensor("foo", [1, 2]))
    assert (response.model_name, response.model_version) == ("m", "v1")
    assert [output.model_dump() for output in response.outputs] == [
        {
            "name": "output-0",
            "shape": [2, 1],
            "datatype": "INT32",
            "parameters": {"content_type": "np"},
            "data": [2, 4],
        },
        {
            "name": "output-1",
            "shape": [1, 1],
            "datatype": "BYTES",
            "parameters": {"content_type": "str"},
            "data": [b"A"],
        },
    ]


def test_the_annotation_wins_over_the_content_type():
    @decode_args
    async def method(self, foo: np.ndarray) -> np.ndarray:
        assert isinstance(foo, np.ndarray)
        return foo

    response = predict(method, tensor("foo", ["1"], "BYTES", "str"))
    assert response.outputs[0].data.root == [b"1"]


def test_a_missing_input_is_a_missing_argument():
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'bar'"):
        predict(two, tensor("foo", [1]))


def test_an_optional_argument_may_be_missing_and_an_optional_output_absent():
    @decode_args
    async def method(self, foo: np.ndarray, bar: list[str] | None = None) -> np.ndarray | None:
        return None if bar is None else foo

    assert predict(method, tensor("foo", [1])).outputs == []
    assert len(predict(method, tensor("foo", [1]), tensor("bar", ["a"], "BYTES")).outputs) == 1


def test_an_input_without_an_argument_is_refused():
    with pytest.raises(InputsNotFound) as caught:
        predict(two, tensor("foo", [1]), tensor("bar", ["a"], "BYTES"), tensor("zz", [1]))
    assert str(caught.value) == "Input 'zz' was not found. Available inputs are 'foo', 'bar'."


@pytest.mark.parametrize(
    ("returned", "index", "kind"),
    [([1], 0, list), ((np.zeros(1), np.zeros(1)), 1, np.ndarray)],
)
def test_a_value_that_is_not_announced_is_refused(returned, index, kind):
    @decode_args
    async def method(self, foo: np.ndarray) -> np.ndarray:
        return returned

    with pytest.raises(OutputNotFound) as caught:
        predict(method, tensor("foo", [1]))
    assert str(caught.value) == (
        f"Unexpected output value at position '{index}' ({kind})."
        " Expected outputs are '<class 'numpy.ndarray'>' outputs."
    )


def test_an_annotation_without_a_codec_is_refused_when_the_class_is_made():
    async def number_in(self, foo: int) -> np.ndarray: ...

    async def number_out(self, foo: np.ndarray) -> int: ...

    with pytest.raises(CodecNotFound) as caught:
        decode_args(number_in)
    assert str(caught.value) == (
        "Codec not found for input field with name 'foo' and type <class 'int'>"
    )
    with pytest.raises(CodecNotFound) as caught:
        decode_args(number_out)
    assert str(caught.value) == "Codec not found for output field with type <class 'int'>"


def test_a_list_of_datetimes_has_a_codec_where_mlserver_has_none():
    @decode_args
    async def method(self, at: list[datetime.datetime]) -> list[str]:
        return [str(moment.year) for moment in at]

    assert predict(method, tensor("at", ["2020-01-01"], "BYTES")).outputs[0].data.root == [b"2020"]


def test_a_frame_takes_the_inputs_that_no_other_argument_takes():
    pd = pytest.importorskip("pandas")

    @decode_args
    async def method(self, scale: np.ndarray, df: pd.DataFrame) -> pd.DataFrame:
        return df * scale[0]

    inputs = [tensor("a", [1, 2]), tensor("scale", [3]), tensor("b", [4, 5])]
    response = predict(method, *inputs)
    assert {output.name: output.data.root for output in response.outputs} == {
        "a": [3, 6],
        "b": [12, 15],
    }


def test_the_method_keeps_its_name_and_documentation():
    async def method(self, foo: np.ndarray) -> np.ndarray:
        """Say what it does."""

    decorated = decode_args(method)
    assert (decorated.__name__, decorated.__doc__) == ("method", "Say what it does.")
    assert decorated.__wrapped__ is method
