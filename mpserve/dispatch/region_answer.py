"""Outputs of a request that this process answered itself, on their way into a client's memory.

A worker writes its outputs there directly; those of an ensemble lie in the arenas of several
workers and are copied from here.
"""

import msgspec

from mpserve.dispatch.ensemble_answer import AnyAnswer, EnsembleAnswer, EnsembleOutput, OnAnswer
from mpserve.dispatch.regions import Regions
from mpserve.errors import InternalError, MpserveError
from mpserve.model.request import InferRequest


def into_regions(request: InferRequest, regions: Regions, on_answer: OnAnswer) -> OnAnswer:
    """Return an `on_answer` that first copies what the client wants in its memory."""

    def told(answer: AnyAnswer) -> None:
        if answer.code or not isinstance(answer, EnsembleAnswer):
            on_answer(answer)
            return
        try:
            outputs = tuple(_copied(output, request, regions) for output in answer.outputs)
        except MpserveError as error:
            failed = {"outputs": (), "code": int(error.code), "error": error.message}
            on_answer(msgspec.structs.replace(answer, **failed))
            return
        on_answer(msgspec.structs.replace(answer, outputs=outputs))

    return told


def _copied(output: EnsembleOutput, request: InferRequest, regions: Regions) -> EnsembleOutput:
    use = request.requested_output(output.name).region
    if use is None:
        return output
    content = memoryview(output.data)
    if len(content) > use.byte_size:
        raise InternalError(
            f"shared memory size specified with the request for output '{output.name}' "
            f"({use.byte_size} bytes) should be at least {len(content)} bytes to hold the results"
        )
    regions.write(use, content)
    return msgspec.structs.replace(output, data=memoryview(b""))
