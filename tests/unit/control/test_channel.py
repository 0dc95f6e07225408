import asyncio
import socket
import threading

from mpserve.control.channel import BlockingChannel, Channel
from mpserve.control.messages import (
    FromFrontend,
    LoadCall,
    StopFrontend,
    TableAcknowledged,
    ToFrontend,
)
from mpserve.errors import InternalError

DEADLINE_S = 5.0


class Listener:
    """Remembers what a channel told."""

    def __init__(self):
        self.messages = []
        self.ended = asyncio.Event()
        self.reason = None

    def on_end(self, reason):
        self.reason = reason
        self.ended.set()


async def open_channel(end, listener):
    return await Channel.over(
        end, FromFrontend, on_message=listener.messages.append, on_end=listener.on_end
    )


def test_messages_pass_both_ways_in_order():
    async def scenario():
        ours, theirs = socket.socketpair()
        listener = Listener()
        channel = await open_channel(ours, listener)
        other = BlockingChannel[object](theirs, ToFrontend)
        other.send(TableAcknowledged(number=1))
        other.send(TableAcknowledged(number=2))
        channel.send(StopFrontend(grace_ms=9))
        async with asyncio.timeout(DEADLINE_S):
            received = await asyncio.to_thread(other.receive)
            other.close()
            await listener.ended.wait()
        assert received == StopFrontend(grace_ms=9)
        assert listener.messages == [TableAcknowledged(number=1), TableAcknowledged(number=2)]

    asyncio.run(scenario())


def test_the_end_of_the_other_process_is_told_without_a_reason():
    async def scenario():
        ours, theirs = socket.socketpair()
        listener = Listener()
        await open_channel(ours, listener)
        theirs.close()
        async with asyncio.timeout(DEADLINE_S):
            await listener.ended.wait()
        assert listener.reason is None

    asyncio.run(scenario())


def test_rubbish_ends_the_channel_and_is_named():
    async def scenario():
        ours, theirs = socket.socketpair()
        listener = Listener()
        await open_channel(ours, listener)
        theirs.sendall(b"\x01\x00\x00\x00\xc1")
        async with asyncio.timeout(DEADLINE_S):
            await listener.ended.wait()
        assert isinstance(listener.reason, InternalError)
        theirs.close()

    asyncio.run(scenario())


def test_sending_to_a_process_that_is_gone_has_no_effect():
    ours, theirs = socket.socketpair()
    theirs.close()
    channel = BlockingChannel[object](ours, ToFrontend)
    channel.send(TableAcknowledged(number=1))
    channel.send(TableAcknowledged(number=2))
    assert channel.receive() is None
    channel.close()


def test_a_message_larger_than_the_socket_buffer_arrives_whole():
    ours, theirs = socket.socketpair()
    sender = BlockingChannel[object](ours, ToFrontend)
    receiver = BlockingChannel[object](theirs, FromFrontend)
    call = LoadCall(call_id=1, name="a", config="{}", files={"1/model.py": b"x" * 3_000_000})
    thread = threading.Thread(target=sender.send, args=(call,))
    thread.start()
    assert receiver.receive() == call
    thread.join(DEADLINE_S)
    sender.close()
    receiver.close()
