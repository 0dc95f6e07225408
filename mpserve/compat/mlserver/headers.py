"""Headers of the protocol inside parameters, and ids of requests."""

import uuid

from mpserve.compat.mlserver.types import InferenceRequest, InferenceResponse, Parameters


def generate_uuid() -> str:
    """Return a new id for a request that has none."""
    return str(uuid.uuid4())


def insert_headers(
    inference_request: InferenceRequest, headers: dict[str, str]
) -> InferenceRequest:
    """Put headers into the parameters of a request, and return it."""
    if inference_request.parameters is None:
        inference_request.parameters = Parameters()
    inference_request.parameters.headers = headers
    return inference_request


def extract_headers(inference_response: InferenceResponse) -> dict[str, str] | None:
    """Take the headers out of the parameters of a response."""
    parameters = inference_response.parameters
    if parameters is None or parameters.headers is None:
        return None
    headers, parameters.headers = parameters.headers, None
    return headers
