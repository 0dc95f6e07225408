"""HTTP over loopback, each body copied once in memory and sent back: the ceiling that no server can
pass.

`python -m bench.loopback_server PORT`. One thread per connection; every path is answered the same
way, with the request's tensor as the output of a binary answer.
"""

import signal
import socket
import sys
import threading
from typing import Final

LARGEST_REQUEST_BYTES: Final = (16 << 20) + 4096
HEAD_END: Final = b"\r\n\r\n"


def serve(port: int) -> None:
    """Accept connections until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(0))
    with socket.create_server(("127.0.0.1", port), backlog=128) as listener:
        while True:
            connection, _address = listener.accept()
            threading.Thread(target=_echo, args=(connection,), daemon=True).start()


def _echo(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    received, copied = bytearray(LARGEST_REQUEST_BYTES), bytearray(LARGEST_REQUEST_BYTES)
    window, answer = memoryview(received), memoryview(copied)
    while (filled := connection.recv_into(window)) > 0:
        while (head_end := received.find(HEAD_END, 0, filled)) < 0:
            filled += connection.recv_into(window[filled:])
        lengths = _lengths(bytes(window[:head_end]))
        body_start = head_end + len(HEAD_END)
        while filled < body_start + lengths["content-length"]:
            filled += connection.recv_into(window[filled:])
        tensor_start = body_start + lengths["inference-header-content-length"]
        tensor_bytes = max(0, filled - tensor_start)
        answer[:tensor_bytes] = window[tensor_start:filled]
        connection.sendall(_answer_head(tensor_bytes))
        connection.sendall(answer[:tensor_bytes])


def _lengths(head: bytes) -> dict[str, int]:
    found = {"content-length": 0, "inference-header-content-length": 0}
    for line in head.lower().split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.decode() in found:
            found[name.decode()] = int(value)
    return found


def _answer_head(tensor_bytes: int) -> bytes:
    described = (
        b'{"outputs":[{"name":"OUTPUT0","datatype":"FP32","parameters":{"binary_data_size":%d}}]}'
        % tensor_bytes
    )
    return (
        b"HTTP/1.1 200 OK\r\nInference-Header-Content-Length: %d\r\nContent-Length: %d\r\n\r\n%s"
        % (len(described), len(described) + tensor_bytes, described)
    )


if __name__ == "__main__":
    serve(int(sys.argv[1]))
