"""What the runtimes of estimators share: a model with `predict` methods, one matrix in, arrays out.

A request names the methods it wants as its outputs. Requests without content types, by far the
most, take the short way: the estimator gets the tensor as it lies in shared memory.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import orjson

from mpserve.compat.mlserver.codecs import NumpyCodec, NumpyRequestCodec, PandasCodec
from mpserve.compat.mlserver.errors import MLServerError
from mpserve.compat.mlserver.model import MLModel
from mpserve.compat.mlserver.settings import ModelSettings
from mpserve.compat.mlserver.types import Parameters, RequestOutput
from mpserve.errors import InvalidRequest, Unsupported
from mpserve.model.signature import Signature
from mpserve.model.tensor import Datatype
from mpserve.runtimes.mlserver_wire import (
    bytes_array,
    text_elements,
    to_inference_request,
    to_output,
)
from mpserve.runtimes.protocol import CompletedConfig, LoadContext, Request, Tensor
from mpserve.runtimes.responses import Answer, Output

Array = npt.NDArray[Any]  # any of the datatypes

DEFAULT_METHOD: Final = "predict"

_NUMPY_PARAMETERS: Final = '{"content_type":"np"}'
_TEXT_PARAMETERS: Final = '{"content_type":"str"}'


class EstimatorRules(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between the runtimes of estimators.

    Attributes
    ----------
    peer_class
        Name of MLServer's class, as its messages say it.
    methods
        Names of outputs: methods of the estimator.
    default_setting
        Member of `parameters.extra` that names another method than `predict` for requests that
        name none; "" where there is none. It may be any method.
    passes_over_outputs
        Whether requests get the default whatever outputs they ask for.
    """

    peer_class: str
    methods: tuple[str, ...]
    default_setting: str = ""
    passes_over_outputs: bool = False

    @property
    def methods_text(self) -> str:
        """The methods in a sentence, with the word for outputs."""
        *others, last = [f"'{method}'" for method in self.methods]
        return f"{', '.join(others)} and {last} as outputs"


class EstimatorModel:
    """A loaded estimator that answers requests.

    Parameters
    ----------
    refusals
        What the library raises, besides `ValueError`, for a matrix that does not fit.
    """

    def __init__(
        self,
        estimator: Any,  # noqa: ANN401  # the user's
        *,
        rules: EstimatorRules,
        context: LoadContext,
        refusals: tuple[type[Exception], ...] = (),
    ) -> None:
        self._estimator = estimator
        self._rules = rules
        self._refusals: tuple[type[Exception], ...] = (ValueError, *refusals)
        members = orjson.loads(context.settings_json or b"{}")
        members |= {"name": context.model_name, "implementation": rules.peer_class}
        self._decoder = MLModel(ModelSettings.model_validate(members))
        self._has_declared_types = _declares_content_types(self._decoder)
        self._default_methods = (_default_method(self._decoder, rules),)

    def predict(self, request: Request) -> Answer:
        """Answer one request.

        Raises
        ------
        InvalidRequest
            An output is unknown, or the estimator refuses the input.
        """
        methods = self._wanted_methods(request.requested_output_names())
        try:
            features = self._features(request)
            outputs = [
                output
                for method in methods
                for output in self._call(method, features, self._parameters_of(request, method))
            ]
        except MLServerError as error:
            raise InvalidRequest(str(error)) from error
        return Answer(outputs=outputs)

    def _wanted_methods(self, names: Sequence[str]) -> Sequence[str]:
        if self._rules.passes_over_outputs:
            return self._default_methods
        for name in names:
            if name not in self._rules.methods:
                raise InvalidRequest(
                    f"{self._rules.peer_class} only supports {self._rules.methods_text}"
                    f" ({name} was received)"
                )
        return names or self._default_methods

    def _features(self, request: Request) -> Any:  # noqa: ANN401  # what the content type says
        """Return the input of the estimator: an array, or what the request's codec decodes."""
        tensors = request.inputs()
        is_plain = (
            len(tensors) == 1
            and not self._has_declared_types
            and _is_array(request.parameters())
            and _is_array(tensors[0].parameters_json())
        )
        if is_plain:
            return _feature_array(tensors[0])
        inference_request = to_inference_request(request)
        return self._decoder.decode_request(inference_request, default_codec=NumpyRequestCodec)

    def _parameters_of(self, request: Request, method: str) -> str:
        return "" if self._rules.passes_over_outputs else request.output_parameters_json(method)

    def _call(self, method: str, features: Any, parameters_json: str) -> list[Output]:  # noqa: ANN401
        call = getattr(self._estimator, method, None)
        if call is None:
            # The peer's words, with its unpaired quote.
            raise InvalidRequest(f"{self._kind()} models do not support '{method}")
        try:
            result = call(features)
        except self._refusals as error:
            # Estimators say so that the matrix does not fit. XGBoost appends a C++ trace.
            message = str(error).partition("Stack trace:")[0].strip()
            raise InvalidRequest(message) from error
        return self._encode(method, result, parameters_json)

    def _encode(self, method: str, result: Any, parameters_json: str) -> list[Output]:  # noqa: ANN401
        if PandasCodec.can_encode(result):
            return [to_output(output) for output in PandasCodec.encode_outputs(result)]
        if parameters_json and not _is_array(parameters_json):
            wanted = RequestOutput(
                name=method, parameters=Parameters(**orjson.loads(parameters_json))
            )
            return [to_output(self._decoder.encode(result, wanted, default_codec=NumpyCodec))]
        return [result_output(method, result)]

    def _kind(self) -> str:
        """Return the name of the class that decides: in a pipeline the last."""
        steps = getattr(self._estimator, "steps", None)
        kind = type(steps[-1][-1] if steps else self._estimator)
        return str(kind) if self._rules.peer_class == "SKLearnModel" else kind.__name__


def complete_config(context: LoadContext) -> CompletedConfig:
    """Return the configuration; one that declares no inputs or outputs takes or gives any."""
    given = CompletedConfig(config=context.config, config_json=context.config_json)
    signature = context.config.signature
    if not context.complete_config or (signature.inputs and signature.outputs):
        return given
    opened: Signature = msgspec.structs.replace(
        signature,
        open_inputs=signature.open_inputs or not signature.inputs,
        open_outputs=signature.open_outputs or not signature.outputs,
    )
    config = msgspec.structs.replace(given.config, signature=opened)
    return msgspec.structs.replace(given, config=config)


def result_output(name: str, result: Any) -> Output:  # noqa: ANN401  # what an estimator returns
    """Return the result of an estimator as a tensor of at least two dimensions."""
    parameters = _NUMPY_PARAMETERS
    if isinstance(result, list) and all(isinstance(element, str) for element in result):
        parameters = _TEXT_PARAMETERS
    array = _result_array(name, result)
    if array.dtype.kind in "USOT":
        array = bytes_array(_texts(array)).reshape(array.shape)
    if array.ndim < 2:
        array = array.reshape(-1, 1) if array.ndim else array.reshape(1)
    return Output(name=name, array=array, parameters_json=parameters)


def _result_array(name: str, result: Any) -> Array:  # noqa: ANN401
    if hasattr(result, "toarray"):  # a sparse matrix
        result = result.toarray()
    if isinstance(result, list) and result and isinstance(result[0], np.ndarray):
        if len({part.shape for part in result}) > 1:
            raise Unsupported(
                f"output '{name}' consists of {len(result)} arrays of different shapes; the"
                " protocol has one tensor for it"
            )
        return np.stack(result, axis=1)  # one array for each target: rows stay first
    return np.asarray(result)


def _texts(array: Array) -> list[Any]:
    """Return elements as text or `bytes`; other objects by their `str`."""
    return [
        element if isinstance(element, str | bytes) else str(element)
        for element in array.ravel().tolist()
    ]


def _feature_array(tensor: Tensor) -> Array:
    array = tensor.as_numpy()
    if tensor.datatype_name() != Datatype.BYTES.name:
        return array
    return np.array(text_elements(array)).reshape(array.shape)


def _is_array(parameters_json: str) -> bool:
    """Say whether parameters ask for nothing but an array."""
    if "content_type" not in parameters_json:
        return True
    return bool(orjson.loads(parameters_json).get("content_type") == NumpyCodec.ContentType)


def _default_method(decoder: MLModel, rules: EstimatorRules) -> str:
    parameters = decoder.settings.parameters
    extra = (parameters.extra if parameters is not None else None) or {}
    return str(extra.get(rules.default_setting, DEFAULT_METHOD))


def _declares_content_types(decoder: MLModel) -> bool:
    """Say whether the settings name a content type, for the model or for one of its inputs."""
    owners: list[Any] = [decoder.settings, *decoder.inputs]  # each has parameters
    return any(owner.parameters and owner.parameters.content_type for owner in owners)
