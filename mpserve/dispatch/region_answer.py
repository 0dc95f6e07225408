"""Outputs of a request that this process answered itself, on their way into a client's memory.

A worker writes its outputs there directly; those of an ensemble lie in the arenas of several
workers and are copied from here.
"""

from collections.abc import Mapping

import msgspec

from mpserve.dispatch.ensemble_answer import AnyAnswer, EnsembleAnswer, EnsembleOutput, OnAnswer
from mpserve.dispatch.regions import Regions
from mpserve.errors import InternalError, MpserveError
from mpserve.model.region import RegionPiece
from mpserve.model.request import InferRequest


def into_regions(request: InferRequest, regions: Regions, on_answer: OnAnswer) -> OnAnswer:
    """Return an `on_answer` that first copies what the client wants in its memory.

    The memory is what the regions' names mean now: until then they may mean other memory. Raises as
    `Regions.place`.
    """
    pieces = {
        output.name: regions.place(output.region)
        for output in request.outputs
        if output.region is not None
    }

    def told(answer: AnyAnswer) -> None:
        if answer.code or not isinstance(answer, EnsembleAnswer):
            on_answer(answer)
            return
        try:
            outputs = tuple(_copied(output, pieces, regions) for output in answer.outputs)
        except MpserveError as error:
            failed = {"outputs": (), "code": int(error.code), "error": error.message}
            on_answer(msgspec.structs.replace(answer, **failed))
            return
        on_answer(msgspec.structs.replace(answer, outputs=outputs))

    return told


def _copied(
    output: EnsembleOutput, pieces: Mapping[str, RegionPiece], regions: Regions
) -> EnsembleOutput:
    piece = pieces.get(output.name)
    if piece is None:
        return output
    content = memoryview(output.data)
    if len(content) > piece.byte_size:
        raise InternalError(
            f"shared memory size specified with the request for output '{output.name}' "
            f"({piece.byte_size} bytes) should be at least {len(content)} bytes to hold the results"
        )
    regions.write(piece, content)
    return msgspec.structs.replace(output, data=memoryview(b""))
