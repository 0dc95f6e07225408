"""A checked request on its way to the model queue."""

from collections.abc import Callable
from typing import Final

from mpserve.model.region import RegionPiece, RegionUse
from mpserve.model.request import Bytes, InferRequest
from mpserve.shm.dispatcher import (
    BINARY_OUTPUTS_BY_DEFAULT,
    HANDLER_CALL,
    MORE_INPUTS,
    OUTPUT_BINARY,
    OUTPUT_BINARY_SET,
    SEQUENCE_END,
    SEQUENCE_START,
    TAKES_MANY,
    Answer,
    Dispatcher,
    Route,
)

_BINARY: Final = OUTPUT_BINARY | OUTPUT_BINARY_SET


def submit(
    request: InferRequest,
    *,
    dispatcher: Dispatcher,
    route: Route,
    on_answer: Callable[[Answer], None],
    place: Callable[[RegionUse], RegionPiece] | None = None,
) -> int:
    """Submit a request that `validation.validate` has passed; return its token for `cancel`.

    The tensors are copied into this process's arena, but for those in regions of the client's
    shared memory, which `place` finds. `on_answer` is called once, never from here.

    Raises
    ------
    QueueFull, ArenaFull
        Refused now; may pass later.
    """
    token: int = dispatcher.submit(
        route,
        _inputs(request, place),
        outputs=_outputs(request, place),
        request_id=request.id,
        parameters_json=request.parameters_json,
        flags=_flags(request),
        sequence_id=request.sequence.number,
        sequence_text=request.sequence.text,
        priority=request.priority,
        timeout_us=request.timeout_us,
        deadline_ns=request.deadline_ns,
        trace_context=request.trace_context,
        headers=request.headers,
        callback=on_answer,
    )
    return token


def submit_input(
    request: InferRequest, *, dispatcher: Dispatcher, route: Route, token: int
) -> bool:
    """Send the next request of a stream that wants one; false when the stream has ended.

    Raises
    ------
    ArenaFull
        Refused now.
    """
    sent: bool = dispatcher.send_input(
        route,
        token,
        _inputs(request, None),
        outputs=_outputs(request, None),
        request_id=request.id,
        parameters_json=request.parameters_json,
        headers=request.headers,
    )
    return sent


_Place = Callable[[RegionUse], RegionPiece]
_InputRow = tuple[str, str, tuple[int, ...], Bytes, str, tuple[int, int, int] | None]
_OutputRow = tuple[str, int, int, str, tuple[int, int, int] | None]


def _inputs(request: InferRequest, place: _Place | None) -> list[_InputRow]:
    return [
        (
            tensor.name,
            tensor.datatype.name,
            tensor.shape,
            tensor.data,
            tensor.parameters_json,
            _piece(tensor.region, place),
        )
        for tensor in request.inputs
    ]


def _outputs(request: InferRequest, place: _Place | None) -> list[_OutputRow]:
    return [
        (
            output.name,
            _BINARY if output.binary else OUTPUT_BINARY_SET,
            output.classification,
            output.parameters_json,
            _piece(output.region, place),
        )
        for output in request.outputs
    ]


def _piece(
    use: RegionUse | None, place: Callable[[RegionUse], RegionPiece] | None
) -> tuple[int, int, int] | None:
    if use is None:
        return None
    assert place is not None, "a request with regions, and nobody who knows them"
    piece = place(use)
    return piece.id, piece.offset, piece.byte_size


def _flags(request: InferRequest) -> int:
    flags = 0
    if request.sequence.starts:
        flags |= SEQUENCE_START
    if request.sequence.ends:
        flags |= SEQUENCE_END
    if request.binary_by_default:
        flags |= BINARY_OUTPUTS_BY_DEFAULT
    if request.takes_many:
        flags |= TAKES_MANY
    if request.has_more_inputs:
        flags |= MORE_INPUTS
    if request.is_handler_call:
        flags |= HANDLER_CALL
    return flags
