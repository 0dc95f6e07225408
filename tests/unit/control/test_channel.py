import asyncio
import os
import socket
import threading

import pytest
import uvloop

from mpserve.control.channel import BlockingChannel, Channel
from mpserve.control.messages import (
    FromFrontend,
    LoadCall,
    StopFrontend,
    TableAcknowledged,
    ToFrontend,
)
from mpserve.errors import InternalError

DEADLINE_S = 20.0


class Listener:
    """Remembers what a channel told."""

    def __init__(self):
        self.messages = []
        self.ended = asyncio.Event()
        self.reason = None

    def on_end(self, reason):
        self.reason = reason
        self.ended.set()


def open_channel(end, listener):
    return Channel.open(
        end, FromFrontend, on_message=listener.messages.append, on_end=listener.on_end
    )


def test_messages_pass_both_ways_in_order():
    async def scenario():
        ours, theirs = socket.socketpair()
        listener = Listener()
        channel = open_channel(ours, listener)
        other = BlockingChannel[object](theirs, ToFrontend)
        other.send(TableAcknowledged(number=1))
        other.send(TableAcknowledged(number=2))
        channel.send(StopFrontend(grace_ms=9))
        async with asyncio.timeout(DEADLINE_S):
            received = await asyncio.to_thread(other.receive)
            other.close()
            await listener.ended.wait()
        channel.close()
        assert received == StopFrontend(grace_ms=9)
        assert listener.messages == [TableAcknowledged(number=1), TableAcknowledged(number=2)]

    asyncio.run(scenario())


def test_the_end_of_the_other_process_is_told_without_a_reason():
    async def scenario():
        ours, theirs = socket.socketpair()
        listener = Listener()
        open_channel(ours, listener)
        theirs.close()
        async with asyncio.timeout(DEADLINE_S):
            await listener.ended.wait()
        assert listener.reason is None

    asyncio.run(scenario())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_the_end_is_seen_behind_the_last_messages_of_one_that_read_nothing(run):
    """The system then tells of an error at once, with messages still to be read."""

    async def scenario():
        ours, theirs = socket.socketpair()
        listener = Listener()
        channel = open_channel(ours, listener)
        channel.send(StopFrontend(grace_ms=9))
        BlockingChannel[object](theirs, ToFrontend).send(TableAcknowledged(number=1))
        theirs.close()
        async with asyncio.timeout(DEADLINE_S):
            await listener.ended.wait()
        assert listener.messages == [TableAcknowledged(number=1)]

    run(scenario())


def test_rubbish_ends_the_channel_and_is_named():
    async def scenario():
        ours, theirs = socket.socketpair()
        listener = Listener()
        open_channel(ours, listener)
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


def test_a_burst_larger_than_the_socket_buffer_goes_out_in_order():
    async def scenario():
        ours, theirs = socket.socketpair()
        channel = open_channel(ours, Listener())
        other = BlockingChannel[object](theirs, FromFrontend)
        calls = [
            LoadCall(call_id=index, name="a", config="x" * 300_000, files={}) for index in range(9)
        ]
        for call in calls:
            channel.send(call)
        channel.close()
        async with asyncio.timeout(DEADLINE_S):
            received = [await asyncio.to_thread(other.receive) for _ in calls]
            after = await asyncio.to_thread(other.receive)
        other.close()
        assert received == calls
        assert after is None

    asyncio.run(scenario())


def test_descriptors_travel_with_their_message_and_are_closed_here():
    async def scenario():
        ours, theirs = socket.socketpair()
        channel = open_channel(ours, Listener())
        read_fd, write_fd = os.pipe()
        channel.send(StopFrontend(grace_ms=1), fds=(write_fd,))
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(write_fd)
        frame, fds, _, _ = socket.recv_fds(theirs, 1000, 4)
        os.write(fds[0], b"hello")
        assert os.read(read_fd, 5) == b"hello"
        assert frame.endswith(b"grace_ms\x01")
        channel.close()
        for fd in (read_fd, *fds):
            os.close(fd)
        theirs.close()

    asyncio.run(scenario())


def test_what_the_other_side_has_not_read_is_noticed():
    async def scenario():
        ours, theirs = socket.socketpair()
        channel = open_channel(ours, Listener())
        other = BlockingChannel[object](theirs, ToFrontend)
        before = channel.has_unread()
        channel.send(StopFrontend(grace_ms=1))
        unread = channel.has_unread()
        other.receive()
        assert (before, unread, channel.has_unread()) == (False, True, False)
        channel.close()
        other.close()

    asyncio.run(scenario())
