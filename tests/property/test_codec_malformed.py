"""Whatever a client sends, the codecs and the checks return a request or an error with a reason."""

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mpserve.codec import mlserver_json, v2_json
from mpserve.codec.field_fault import InvalidFields, detail_body
from mpserve.codec.v2_json import RequestContext
from mpserve.dispatch.validation import validate
from mpserve.errors import ErrorCode, MpserveError
from mpserve.model.request import InferRequest
from mpserve.model.signature import Signature, TensorSpec
from mpserve.model.tensor import Datatype
from tests.property.v2_requests import BODIES, GOOD_TEXT

EXAMPLES = 4000  # times the number of dialects: the count that the normal run must reach
DECODERS = (v2_json.decode, mlserver_json.decode)
CODES = {ErrorCode.MALFORMED, ErrorCode.INVALID_ARGUMENT, ErrorCode.NOT_FOUND}
SIGNATURE = Signature(
    inputs=(TensorSpec(name="INPUT0", datatype=Datatype.FP32, shape=(-1, 4)),),
    outputs=(TensorSpec(name="OUTPUT0", datatype=Datatype.FP32, shape=(-1, 4)),),
    max_batch_size=8,
)
OPEN = Signature(open_inputs=True, open_outputs=True)


def outcome(
    decode, body: bytes, json_bytes: int, signature: Signature
) -> InferRequest | MpserveError:
    """Decode and check; anything but a request or an error of ours is raised."""
    context = RequestContext(model_name="m", signature=signature, max_input_bytes=1 << 20)
    try:
        request = decode(body, json_bytes=json_bytes, context=context)
        validate(request, signature=signature, model_name="m")
    except MpserveError as error:
        return error
    return request


def is_told(found: InferRequest | MpserveError) -> bool:
    """Tell whether a client can be told what was found."""
    if isinstance(found, InvalidFields):
        return bool(orjson.loads(detail_body(found.faults))["detail"])
    if isinstance(found, MpserveError):
        return found.code in CODES and bool(found.message.encode())
    return all(size >= 0 for tensor in found.inputs for size in tensor.shape)


@settings(max_examples=EXAMPLES)
@given(body=BODIES, signature=st.sampled_from([SIGNATURE, OPEN]))
@example(
    body=b'{"inputs":[{"name":"INPUT0","datatype":"FP32","shape":[0,4],"data":[]}]}', signature=OPEN
)
@example(body=b"[" * 5000, signature=OPEN)
@example(body=b'{"inputs":' + b"[" * 5000, signature=SIGNATURE)
@example(body=b'{"a":"\\ud800"}', signature=SIGNATURE)
def test_any_body_is_a_request_or_an_error_with_a_reason(body, signature):
    for decode in DECODERS:
        assert is_told(outcome(decode, body, len(body), signature)), decode


@settings(max_examples=EXAMPLES // 3)
@given(
    body=BODIES,
    blob=st.binary(max_size=40),
    json_bytes=st.integers(0, 80),
    signature=st.sampled_from([SIGNATURE, OPEN]),
)
def test_any_binary_body_is_a_request_or_an_error_with_a_reason(body, blob, json_bytes, signature):
    whole = body + blob
    for decode in DECODERS:
        assert is_told(outcome(decode, whole, min(json_bytes, len(whole)), signature)), decode
        assert is_told(outcome(decode, whole, len(body), signature)), decode


@pytest.mark.parametrize("decode", DECODERS)
def test_the_request_that_is_damaged_is_good(decode):
    request = outcome(decode, GOOD_TEXT, len(GOOD_TEXT), SIGNATURE)
    assert isinstance(request, InferRequest)
    assert request.inputs[0].shape == (2, 4)
