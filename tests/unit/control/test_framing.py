import pytest

from mpserve.control.framing import MAX_FRAME_BYTES, FrameDecoder, encode_frame
from mpserve.control.messages import (
    CallDone,
    FromFrontend,
    LoadCall,
    StopFrontend,
    StopWorker,
    TableAcknowledged,
    ToFrontend,
    ToWorker,
)
from mpserve.errors import InternalError

LOAD = LoadCall(call_id=7, name="a", config="", files={"1/model.py": b"\x00\xff" * 1000})
ACK = TableAcknowledged(number=3)


def test_messages_come_out_of_a_stream_cut_at_any_place():
    stream = encode_frame(LOAD) + encode_frame(ACK)
    for cut in range(0, len(stream), 37):
        decoder = FrameDecoder[object](FromFrontend)
        assert decoder.feed(stream[:cut]) + decoder.feed(stream[cut:]) == [LOAD, ACK]


def test_an_incomplete_message_is_kept_until_its_last_byte():
    stream = encode_frame(ACK)
    decoder = FrameDecoder[object](FromFrontend)
    arrived = [decoder.feed(stream[index : index + 1]) for index in range(len(stream))]
    assert arrived == [[]] * (len(stream) - 1) + [[ACK]]


def test_a_message_alone_in_its_direction_has_a_tag_too():
    assert FrameDecoder[object](ToWorker).feed(encode_frame(StopWorker())) == [StopWorker()]


def test_a_message_of_another_direction_is_refused():
    with pytest.raises(InternalError, match="can not be read"):
        FrameDecoder[object](ToFrontend).feed(encode_frame(ACK))


def test_an_absurd_length_is_refused_before_its_bytes_are_awaited():
    announced = (MAX_FRAME_BYTES + 1).to_bytes(4, "little")
    with pytest.raises(InternalError, match="announced"):
        FrameDecoder[object](ToFrontend).feed(announced)


def test_a_successful_call_has_no_failure():
    done = CallDone(call_id=1, failure=None)
    stop = StopFrontend(grace_ms=5)
    assert FrameDecoder[object](ToFrontend).feed(encode_frame(done) + encode_frame(stop)) == [
        done,
        stop,
    ]
