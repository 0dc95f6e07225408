"""
Native core of mpserve: shared memory, the request path and the objects models see.
"""

from collections.abc import Callable, Iterable, Sequence
import enum


LAYOUT_VERSION: int = 16

class Board:
    """Process table: who lives, by index and epoch."""

    def __init__(self, buffer: object) -> None: ...

    @staticmethod
    def required_bytes(processes: int) -> int: ...

    @staticmethod
    def format(buffer: object, processes: int) -> None:
        """Make an empty table in a zeroed segment."""

    def begin(self, index: int) -> int:
        """
        Epoch of a process that is about to start; 0 when the index is too large.
        """

    def end(self, index: int) -> None:
        """The process was reaped: blocks lent to it return to their owners."""

    def is_current(self, index: int, epoch: int) -> bool: ...

    @property
    def processes(self) -> int: ...

class CompletionRing:
    """Finished requests on their way to one frontend or caller."""

    def __init__(self, buffer: object) -> None: ...

    @staticmethod
    def required_bytes(capacity: int) -> int: ...

    @staticmethod
    def format(buffer: object, capacity: int) -> None:
        """Make an empty ring in a zeroed segment."""

    def sleep(self, timeout_ms: int) -> None:
        """
        Wait for an answer after `Dispatcher.on_wake`; for a ring without an eventfd.
        """

    def wake_sleeper(self) -> None:
        """Let `sleep` return; from any thread."""

    @property
    def arena_used_bytes(self) -> int: ...

    @property
    def arena_total_bytes(self) -> int: ...

    @property
    def capacity(self) -> int: ...

class ModelQueue:
    """Requests of one generation of one model version."""

    def __init__(self, buffer: object) -> None: ...

    @staticmethod
    def required_bytes(slots: int, sequence_slots: int = 0, keeps_latencies: bool = False) -> int: ...

    @staticmethod
    def format(buffer: object, slots: int, generation: int, sequence_slots: int = 0, sequence_idle_ns: int = 0, summaries: bool = False, first_bounds_ms: Sequence[float] = []) -> None:
        """
        Make an empty queue in a zeroed segment; for a model with sequences when instances have slots for them. Latencies are kept as `summaries`, and those of first responses between these bounds.
        """

    def retire(self) -> None:
        """Take no more requests; instances stop when what waits is done."""

    def retire_instance(self, instance: int) -> None:
        """Let one instance finish what it runs and then stop."""

    def is_drained(self) -> bool:
        """Nothing waits and nothing runs."""

    def wake_all(self) -> None: ...

    def running_since_ns(self, instance: int, epoch: int) -> int:
        """
        Since when (monotonic clock) the instance holds the request it took first; 0: none.
        """

    def reap_instance(self, instance: int, epoch: int, rings: Sequence[CompletionRing], wake_fds: Sequence[int], caller_ring: object, overdue_ns: int) -> int:
        """
        Answer what a dead instance held with `UNAVAILABLE`; return how many. `overdue_ns`: the limit that one of them met, for which the instance was killed; 0: none.
        """

    def reap_frontend(self, process_index: int, epoch: int, ring: int) -> int:
        """Drop what a dead frontend, or caller, left waiting; return how many."""

    def answer_waiting(self, code: int, rings: Sequence[CompletionRing], wake_fds: Sequence[int], caller_ring: object) -> int:
        """
        Answer all that waits with this `ErrorCode`: no instance will come back.
        """

    @property
    def has_sequences(self) -> bool:
        """Requests belong to sequences, each held by one instance."""

    def live_sequences(self) -> int:
        """Sequences that have not ended, or whose requests are not all done."""

    def tell_sent(self, instance: int, caller: int, requests: int, waits_from_ns: int) -> None:
        """An instance says how many requests of its own it waits for."""

    def look(self, first_caller_ring: int) -> tuple[list[tuple[int, bool, bool, int, int, int, int]], list[tuple[int, int, bool, int]]]:
        """
        Instances and requests of workers, as `mpserve.dispatch.deadlock` has them.
        """

    def depth(self) -> int:
        """Requests that wait."""

    def running(self) -> int:
        """Requests that instances hold."""

    def counts(self) -> dict:
        """
        What was counted since the queue was made, added up over frontends and instances. `batches`: (rows, executions, input_ns, execute_ns, output_ns) of each instance.
        """

    def instance_counts(self, instance: int) -> dict:
        """Requests and shared memory of one instance."""

    @property
    def generation(self) -> int: ...

MAX_INSTANCES: int = 64

MAX_RINGS: int = 64

class Arena:
    """This process's allocator of shared memory for tensors."""

    def __init__(self, create: object, remove: object, initial_bytes: int, max_bytes: int) -> None: ...

    def prepare(self) -> None:
        """Make the first segment, so that the first block does not wait for it."""

    def collect(self) -> int:
        """Take in blocks that borrowers gave back; return how many."""

    def reclaim_dead(self, board: Board) -> int:
        """Free what was lent to dead processes; return how many blocks."""

    def trim(self, keep_bytes: int = 0) -> None:
        """Remove unused large segments."""

    @property
    def used_bytes(self) -> int: ...

    @property
    def total_bytes(self) -> int: ...

    @property
    def blocks(self) -> int: ...

class RateLimiter:
    """Resources that executions of all models share."""

    def __init__(self, buffer: object) -> None: ...

    @staticmethod
    def required_bytes(processes: int) -> int: ...

    @staticmethod
    def format(buffer: object, processes: int) -> None:
        """Make an empty limiter in a zeroed segment."""

    def set_limit(self, key: int, limit: int) -> bool:
        """False when there are too many resources."""

    def enrol(self, process_index: int, epoch: int, priority: int, needs: Sequence[tuple[int, int]]) -> bool:
        """
        A worker is about to start; `needs`: (key, count) each. False when there are too many resources.
        """

    def withdraw(self, process_index: int) -> None:
        """The process is dead: what it held is free."""

    def in_use(self, key: int) -> int: ...

    def limit(self, key: int) -> int: ...

MAX_NEEDS: int = 8

class TraceBoard:
    """Counts of traces that all processes share."""

    def __init__(self, buffer: object) -> None: ...

    @staticmethod
    def required_bytes() -> int: ...

    @staticmethod
    def format(buffer: object) -> None:
        """Make an empty board in a zeroed segment."""

    def sample(self, slot: int, rate: int, limit: int) -> bool:
        """
        Whether this request is traced: each `rate`-th of the slot is, at most `limit`; -1 for any number.
        """

    def next_id(self) -> int: ...

    def next_ticket(self) -> int: ...

    def reset(self, slot: int) -> None:
        """Count anew."""

    def made(self, slot: int) -> int:
        """How many traces were made by a slot's setting."""

TRACE_SLOTS: int = 256

class Traffic:
    """A frontend's counts of what clients asked."""

    def __init__(self, buffer: object, area: int) -> None: ...

    @staticmethod
    def required_bytes(areas: int) -> int: ...

    @staticmethod
    def format(buffer: object, areas: int) -> None:
        """Make an empty board in a zeroed segment."""

    @staticmethod
    def read(buffer: object) -> list:
        """
        Everything that was counted, by area: (in progress by kind, (sum, buckets) of the requests in flight, places, rows). A place: (kind, text, started, received, sent); a row: (place, kind, status, sum_ns, buckets).
        """

    def place(self, kind: int, text: str) -> int:
        """Where this is counted; `NO_PLACE` when no more can be."""

    def call_began(self, place: int) -> None: ...

    def call_ended(self, place: int, kind: int, status: int, taken_ns: int) -> None: ...

    def message_received(self, place: int) -> None: ...

    def message_sent(self, place: int) -> None: ...

NO_PLACE: int = 4294967295

TRAFFIC_BOUNDS_MS: tuple = ...

class QueueProbe:
    """
    One frontend and the instances of a model queue, with a clock of the caller's: for simulations.
    """

    def __init__(self, queue: object) -> None: ...

    def activate(self, instance: int) -> None: ...

    def push(self, token: int, *, policies: object, priority: int, timeout_us: int, rows: int, shape: int, now_ns: int) -> bool:
        """Push a request; False when the queue has no room for it."""

    def pop(self, instance: int, *, max_rows: int, max_requests: int, max_delay_ns: int, preferred_rows: Sequence[int], done: Sequence[int], now_ns: int) -> tuple:
        """
        Finish the slots `done` and take a batch: (tokens, slots, when to look again).
        """

    def push_sequenced(self, token: int, *, number: int, starts: bool, ends: bool, timeout_us: int, shape: int, now_ns: int) -> bool:
        """
        Push a request of a sequence; False when it goes on with one that is not there.
        """

    def pop_sequenced(self, instance: int, *, max_rows: int, max_requests: int, max_delay_ns: int, ready_slots: int, done: Sequence[int], now_ns: int) -> tuple[list[tuple[int, int, str, int, int]], int]:
        """
        Finish the slots `done` and take a batch: what was taken (token, slot, verdict, and number and slot of its sequence), and when to look again.
        """

    def cancel(self, token: int, *, now_ns: int) -> bool:
        """Take a request back that waits or expired; False when it is neither."""

    def wake_word(self, instance: int) -> int:
        """Changes when an instance is woken."""

class TritonModelException(Exception):
    pass

class InstanceContext:
    """What all requests of one instance share."""

    def __init__(self, *, instance_name: str, output_names: Sequence[str], open_outputs: bool, absent_parameters: str, controls: list = [], state_outputs: Sequence[str] = [], input_reshapes: list = [], output_reshapes: list = []) -> None: ...

    @property
    def instance_name(self) -> str: ...

    @property
    def output_names(self) -> list[str]: ...

    @property
    def open_outputs(self) -> bool: ...

class Tensor:
    """One tensor of a request or of a response."""

    def __init__(self, name: str | bytes, numpy_array: object, parameters_json: str = '') -> None: ...

    def name(self) -> str: ...

    def as_numpy(self) -> object:
        """
        Elements as an array: a read-only view of an input, an object array of bytes for BYTES.
        """

    def shape(self) -> list: ...

    def triton_dtype(self) -> int: ...

    def datatype_name(self) -> str: ...

    def parameters_json(self) -> str: ...

    def is_cpu(self) -> bool: ...

    def to_dlpack(self) -> object: ...

    def __dlpack__(self, stream: object | None = None, max_version: object | None = None, dl_device: object | None = None, copy: object | None = None) -> object: ...

    def __dlpack_device__(self) -> tuple: ...

    @staticmethod
    def from_dlpack(name: str | bytes, dlpack_tensor: object) -> Tensor: ...

class TensorBytes:
    """Read-only bytes of a tensor, which they keep alive."""

def tensor_from_buffer(name: str, datatype: str, shape: Sequence[int], data: object, parameters_json: str = '') -> Tensor:
    """Tensor on bytes in wire form, without a copy; it is read-only."""

def tensor_to_buffer(tensor: Tensor) -> memoryview:
    """
    Elements in wire form; without a copy, but for BYTES that a model made.
    """

class TritonError:
    """Why one request failed."""

    def __init__(self, message: str | bytes, code: TritonError.__ErrorCode = __ErrorCode.INTERNAL) -> None: ...

    class __ErrorCode(enum.IntEnum):
        UNKNOWN = 0

        INTERNAL = 1

        NOT_FOUND = 2

        INVALID_ARG = 3

        UNAVAILABLE = 4

        UNSUPPORTED = 5

        ALREADY_EXISTS = 6

        CANCELLED = 7

    UNKNOWN: TritonError.__ErrorCode = __ErrorCode.UNKNOWN

    INTERNAL: TritonError.__ErrorCode = __ErrorCode.INTERNAL

    NOT_FOUND: TritonError.__ErrorCode = __ErrorCode.NOT_FOUND

    INVALID_ARG: TritonError.__ErrorCode = __ErrorCode.INVALID_ARG

    UNAVAILABLE: TritonError.__ErrorCode = __ErrorCode.UNAVAILABLE

    UNSUPPORTED: TritonError.__ErrorCode = __ErrorCode.UNSUPPORTED

    ALREADY_EXISTS: TritonError.__ErrorCode = __ErrorCode.ALREADY_EXISTS

    CANCELLED: TritonError.__ErrorCode = __ErrorCode.CANCELLED

    def code(self) -> TritonError.__ErrorCode: ...

    def message(self) -> str: ...

class InferenceResponse:
    """One answer: output tensors, or an error."""

    def __init__(self, output_tensors: object = (), error: object | None = None, parameters: object | None = None, *, parameters_json: str = '', headers: bytes = ...) -> None:
        """
        `headers`: name, NUL, value, NUL each, for the head of an answer over HTTP.
        """

    def output_tensors(self) -> object: ...

    def has_error(self) -> bool: ...

    def error(self) -> object: ...

    def parameters(self) -> str: ...

def get_output_tensor_by_name(inference_response: InferenceResponse, name: str) -> object: ...

class InferenceTrace:
    """Trace context of a request."""

    def __init__(self) -> None: ...

    def get_context(self) -> str | None: ...

def trace_link(trace: InferenceTrace) -> str:
    """
    What a request has to say to belong to the trace; "" when there is none.
    """

class InferenceResponseSender:
    """Sends the answer of one request."""

    def send(self, response: object | None = None, flags: int = 0) -> None: ...

    def is_cancelled(self) -> bool: ...

def has_room(sender: InferenceResponseSender) -> bool:
    """Whether `send` would not wait until its answers are read."""

def ask_input(sender: InferenceResponseSender) -> None:
    """Let the next request of a stream come."""

def take_input(sender: InferenceResponseSender) -> InferenceRequest | None:
    """
    The next request of a stream that was asked for, None when it has not come yet. Raises StopIteration when the client has sent all.
    """

def sent_response(request: InferenceRequest) -> object:
    """
    Answer that a model sent by the request's response sender, None when it sent none.
    """

def answers_all(results: object, requests: object) -> bool:
    """
    Two lists: there is an answer to each request, and none of them is wanted once more.
    """

class InferenceRequest:
    """One request, received or made by a model."""

    def __init__(
        self,
        request_id: str | bytes = '',
        correlation_id: int | str = 0,
        *,
        inputs: Sequence[Tensor],
        requested_output_names: Sequence[str | bytes],
        model_name: str | bytes,
        model_version: int = -1,
        flags: int = 0,
        timeout: int = 0,
        preferred_memory: object | None = None,
        trace: object | None = None,
        parameters: object | None = None,
    ) -> None: ...

    def inputs(self) -> object: ...

    def request_id(self) -> str: ...

    def correlation_id(self) -> object:
        """Sequence id: an int, or a str when it was sent as text."""

    def flags(self) -> int: ...

    def set_flags(self, flags: int) -> None: ...

    def timeout(self) -> int:
        """Timeout in microseconds, 0 for none."""

    def parameters(self) -> str:
        """Custom parameters as JSON text."""

    def requested_output_names(self) -> list: ...

    def likeness(self) -> bytes | None:
        """
        Equal for requests that differ in nothing but their rows; None without rows.
        """

    def output_parameters_json(self, name: str) -> str: ...

    def takes_many(self) -> bool:
        """The client takes any number of answers."""

    def has_more_inputs(self) -> bool:
        """It is the first of a stream of requests."""

    def is_handler_call(self) -> bool:
        """For a handler of a path of the model's own."""

    def headers(self) -> bytes:
        """
        Headers that it came with: name, NUL, value, NUL each; empty where nobody asked.
        """

    def trace(self) -> InferenceTrace: ...

    def get_response_sender(self) -> InferenceResponseSender: ...

    def is_cancelled(self) -> bool: ...

    def set_release_flags(self, flags: int) -> None: ...

    def exec(self, decoupled: bool = False) -> object:
        """Let another model answer; wait for it."""

    def async_exec(self, decoupled: bool = False) -> object:
        """Let another model answer; `await` it."""

def is_rescheduled(request: object) -> bool:
    """The model wants to be given the request once more."""

def request_target(request: InferenceRequest) -> tuple[str, int] | None:
    """
    Name and version (-1: the default) of the model that a request made by a model is for.
    """

def put_input(request: InferenceRequest, tensor: object) -> None:
    """
    Add an input that the client did not send, in the place of one of its name.
    """

def watch_answers(request: InferenceRequest, watcher: Callable[[InferenceResponse], None]) -> None:
    """
    Call `watcher` with each answer that a decoupled model sends, before it is sent.
    """

def sequence_place(request: InferenceRequest) -> object:
    """
    (slot, number) of the sequence as the instance holds it; None without one.
    """

def get_input_tensor_by_name(inference_request: InferenceRequest, name: str) -> object: ...

def answers_of_rows(output_tensors: list[Tensor], rows: Sequence[int], *, parameters_json: str, headers: bytes) -> list[InferenceResponse] | None:
    """
    The answer to each request, which has so many rows, out of the outputs for all; None where an output has not a row for each.
    """

class LoopbackRequest:
    """A request in a block of the heap."""

    def __init__(self, inputs: object, context: InstanceContext, *, request_id: str = '', parameters_json: str = '', outputs: Sequence[tuple[str, str]] = [], sequence_id: int = 0, sequence_text: str = '', flags: int = 0, timeout_us: int = 0) -> None: ...

    def request(self) -> object:
        """A new request object on the block."""

    def cancel(self) -> None: ...

    @property
    def is_leased(self) -> bool:
        """Whether a request object, tensor or array still looks into the block."""

class LoopbackAnswer:
    """An answer as it goes to a client."""

    def __init__(self, request: InferenceRequest, response: InferenceResponse) -> None: ...

    @property
    def status(self) -> int: ...

    @property
    def error(self) -> str: ...

    @property
    def parameters(self) -> str: ...

    def outputs(self) -> list:
        """
        List of (name, datatype, shape, parameters, bytes) of the outputs that are sent.
        """

class InstancePort:
    """One model instance's access to its queue."""

    def __init__(self, *, board: object, process_index: int, epoch: int, queue: object, instance_slot: int, arena: object, rings: list, wake_fds: Sequence[int], attach: object, attach_ring: object, instance_name: str, model_name: str, model_version: str, output_names: Sequence[str], open_outputs: bool, absent_parameters: str = '', region_prefix: str = '', max_requests: int = 1, max_rows: int = 1, preferred_rows: Sequence[int] = [], max_delay_us: int = 0, ready_slots: int = 0, controls: list = [], sequence_slots: int = 0, state_outputs: Sequence[str] = [], input_reshapes: list = [], output_reshapes: list = []) -> None: ...

    def await_streams(self, timeout_ms: int) -> bool:
        """
        Wait until each response sender that was left has sent its final flag; false after the time-out.
        """

    def has_stream_room(self) -> bool:
        """Whether the queue has room for one more stream that its client ends."""

    def await_news(self, timeout_ms: int) -> None:
        """Wait until a stream has a further request, or an answer was sent."""

    def activate(self) -> None:
        """The model is loaded: requests may be taken."""

    def pop(self, timeout_ms: int) -> list:
        """
        Take a batch; an empty list after the time-out, which is 32 times as long where nothing is left to give back, or `wake`. Raises StopIteration when the queue or the instance was retired and nothing waits.
        """

    def complete(self, requests: list, responses: list) -> None:
        """
        Answer the batch: one response for each request, in order. Empties both lists.
        """

    def fail(self, requests: list, code: int, message: str) -> None:
        """Answer the whole batch with an error. Empties `requests`."""

    def detach(self, requests: list) -> None:
        """
        `execute` of a decoupled model returned: senders answer. Empties `requests`.
        """

    def put_off(self, requests: list) -> list[int]:
        """
        Take what the model wants once more out of the batch and the list; return which.
        """

    def set_decoupled(self, decoupled: bool) -> None:
        """Requests are answered through their senders, any number of times."""

    @property
    def arena_used_bytes(self) -> int:
        """Shared memory that answers take which are not read yet."""

    def set_limiter(self, limiter: object) -> None:
        """Each execution takes its resources (`RateLimiter`) first."""

    def set_ordered(self, ordered: bool) -> None:
        """
        Answers of all instances leave in the order in which their requests came.
        """

    def wake(self) -> None:
        """Let `pop` return; from any thread."""

class LentBytes:
    """Read-only bytes of a block that another process owns, or of a buffer."""

class OutputTensor:
    """One output of an answer."""

    @property
    def name(self) -> str: ...

    @property
    def datatype(self) -> str: ...

    @property
    def shape(self, /) -> tuple[int, ...]: ...

    @property
    def parameters_json(self) -> str: ...

    @property
    def data(self, /) -> memoryview:
        """Read-only memoryview into shared memory; BYTES in binary form."""

class Answer:
    """A finished request."""

    @property
    def code(self) -> int:
        """`ErrorCode` value; 0 when it succeeded."""

    @property
    def error(self) -> str: ...

    @property
    def final(self) -> bool:
        """No more answers follow."""

    @property
    def is_mark(self) -> bool:
        """No answer, only the mark that none follow."""

    @property
    def wants_input(self) -> bool:
        """No answer: the next request of the stream may be sent."""

    @property
    def request_id(self) -> str: ...

    @property
    def parameters_json(self) -> str: ...

    @property
    def headers(self) -> bytes:
        """Headers that the model wants with it: name, NUL, value, NUL each."""

    @property
    def model_name(self) -> str: ...

    @property
    def model_version(self) -> str: ...

    @property
    def times(self) -> tuple[int, int, int, int]:
        """
        When an instance took the request, 0 for never (monotonic clock), and the nanoseconds that input, execution and output took.
        """

    @property
    def outputs(self, /) -> list[OutputTensor]: ...

class CallbackSink:
    """Holds the callback of a request in flight."""

class RegionHold:
    """Keeps regions from being let go of while it lives."""

class RegionTable:
    """The shared memory that clients registered, and who uses it."""

    def __init__(self, *, on_free: object) -> None:
        """
        `on_free()` is called when a region that was withdrawn is not used any more.
        """

    def publish(self, registrations: Iterable[tuple[str, int, int, int]]) -> None:
        """
        Know these, and no others, from now on: (name, id, offset, byte_size) each.
        """

    def place(self, name: str, offset: int, byte_size: int) -> tuple[int, int, int]:
        """
        Return (id, offset, bytes) of a piece. Raises `ModelNotFound` where there is no such region, `InvalidRequest` where the piece would not lie inside it.
        """

    def hold(self, ids: Sequence[int]) -> RegionHold:
        """Return what keeps these regions."""

    def in_use(self) -> list[int]:
        """Ids of regions that were withdrawn and are still used, in order."""

class QueuePort:
    """A model queue as a frontend pushes into it."""

    @property
    def pending(self) -> int:
        """Requests accepted and not yet pushed."""

    @property
    def in_flight(self) -> int:
        """Requests accepted and not answered."""

class Route:
    """Where requests for one version of one model go."""

    def __init__(self, *, port: QueuePort, model_name: str, model_version: str, generation: int, inputs: object, outputs: object, max_batch_size: int, open_inputs: bool, open_outputs: bool, queue_policy: object | None = None, native: bool = True, keep_tensor_parameters: bool = False, takes_headers: bool = False, answers_streams: bool = False, sequences: object | None = None, has_siblings: bool = False) -> None: ...

    def has_sequence(self, sequence_id: int, sequence_text: str) -> bool:
        """
        Whether a request of this id would go on with a sequence that has started here.
        """

    @property
    def model_name(self) -> str: ...

    @property
    def model_version(self) -> str: ...

    @property
    def generation(self) -> int: ...

class Dispatcher:
    """A frontend's side of the data path."""

    def __init__(self, *, board: object, process_index: int, epoch: int, frontend_index: int, arena: object, ring: object, wake_fd: int, attach: object, call_soon: object, call_later: object, regions: object | None = None, on_restarted: object | None = None, max_in_flight: int = 0) -> None:
        """
        `regions` is the `RegionTable` of what clients registered; `on_restarted(model, correlation_id)`: a sequence was started before it had ended; `max_in_flight`: of all requests, at least half of what the ring holds; any model may have half of it.
        """

    def make_port(self, queue: object) -> QueuePort:
        """Port to a model queue (`ModelQueue`)."""

    def update(self, name: str, versions: dict) -> None:
        """Routes of one model; "" is the default version."""

    def remove(self, name: str) -> None: ...

    def flush(self) -> None:
        """Push what was submitted in this turn."""

    def on_wake(self) -> None:
        """The eventfd is readable: take answers."""

    def open_sockets(self) -> int:
        """
        Read clients' sockets and the eventfd natively; return the descriptor at which the loop calls `turn` when it is readable. Raise `OSError`.
        """

    def turn(self) -> None:
        """
        What `open_sockets` returned is readable: read, push, and take answers.
        """

    def submit(self, route: Route, inputs: object, *, outputs: object = (), request_id: str | None = None, parameters_json: str = '', flags: int = 0, sequence_id: int = 0, sequence_text: str = '', priority: int = 0, timeout_us: int = 0, deadline_ns: int = 0, trace_context: str = '', headers: bytes = ..., callback: object) -> int:
        """
        Submit a request; return its token. `inputs`: (name, datatype, shape, data[, parameters_json[, region]]) each; `outputs`: (name, flags, classification, parameters_json[, region]) each; a region is (id, offset, bytes) in a client's shared memory, or None; what waits past `deadline_ns` of the monotonic clock is not executed; `headers`: name, NUL, value, NUL each; `callback(Answer)` is called once, unless the request is cancelled.
        """

    def send_input(self, route: Route, token: int, inputs: object, *, outputs: object = (), request_id: str | None = None, parameters_json: str = '', headers: bytes = ...) -> bool:
        """
        Send a stream its next request, as `submit` takes it; false when it has ended.
        """

    def end_inputs(self, token: int) -> bool:
        """Tell a stream that wants a request that there is none."""

    def cancel(self, token: int) -> None:
        """Drop the answer of a request; take it back when it still waits."""

    def count(self, route: Route, code: int, taken_ns: int, rows: int) -> None:
        """Count a request of an ensemble, which this process answers itself."""

    def count_first_response(self, route: Route, taken_ns: int) -> None:
        """How long the first response of an ensemble's request took."""

    def trace_by(self, board: object, gates: dict) -> None:
        """
        Trace from now on as these say, by model, "" for the others: (slot, rate, limit, takes_contexts), or None for a model that is not traced.
        """

    def take_trace(self, model: str, has_context: bool) -> bool:
        """Whether the request that is submitted next is traced."""

    def count_traffic(self, traffic: object) -> None:
        """
        Count what clients ask, from now on; before anything is made that takes requests.
        """

    @property
    def traffic(self) -> Traffic | None:
        """What counts it."""

    @property
    def traces(self) -> bool:
        """Some requests are traced."""

    @property
    def takes_headers(self) -> bool:
        """Some model wants the headers of its requests."""

    def trim(self) -> None:
        """Give unused shared memory back."""

    @property
    def has_unpushed(self) -> bool:
        """Requests wait for room in a queue, or for `flush`."""

    @property
    def in_flight(self) -> int: ...

SEQUENCE_START: int = 1

SEQUENCE_END: int = 2

BINARY_OUTPUTS_BY_DEFAULT: int = 4

TAKES_MANY: int = 16

HANDLER_CALL: int = 32

MORE_INPUTS: int = 64

OUTPUT_BINARY: int = 1

OUTPUT_BINARY_SET: int = 2

class HttpServerConfig:
    """What all HTTP connections of a frontend share."""

    def __init__(self, *, dispatcher: object, on_exchange: object, on_protocol_error: object, max_body_bytes: int, max_binary_body_bytes: int, max_header_bytes: int, max_header_fields: int, max_pipelined: int, style: str, http_statuses: Sequence[int], retry_after_s: Sequence[int], native_inference: bool = True, answer_events: bytes = ..., request_events: bytes = ..., reads_origin: bool = False, compresses: bool = True, root_path: str = '') -> None: ...

    def set_busy_answer(self, answer: bytes) -> None:
        """Whole answer to a connection that is one too many."""

    def set_static(self, path: str, answer: bytes, status: int, route: str) -> None:
        """
        Whole answer (head and body) to GET of a path, from now on. It is counted at `route`, "" for nowhere.
        """

    def count_inferences(self, route: str, versioned_route: str) -> None:
        """
        Where inferences are counted that the core answers, and those that name a version.
        """

    def clear_static(self, path: str) -> None: ...

    def drain(self) -> None:
        """
        Make the answers that are waited for, and those of requests that still come, the last.
        """

    def close_idle(self) -> None:
        """Close connections that rest between two requests; after `drain`."""

    def close_untouched(self) -> None:
        """Close connections on which nothing was ever received; after `drain`."""

    @property
    def connections(self) -> int: ...

    @property
    def handshakes(self) -> int:
        """Connections whose TLS handshake is under way."""

    def counts(self) -> dict:
        """Requests answered natively, by a static answer, and by Python."""

    def set_limits(self, *, max_connections: int, receive_secs: int, send_secs: int, idle_secs: int) -> None:
        """What clients may use up; before, nothing is limited."""

    def look_at_pace(self) -> None:
        """
        End connections whose clients are too slow or idle; to be called about once a second.
        """

    @property
    def refused(self) -> int:
        """Connections that were one too many."""

class HttpConnection:
    """One client connection: an asyncio.BufferedProtocol."""

    def __init__(self, config: object) -> None: ...

    def connection_made(self, transport: object) -> None: ...

    def connection_lost(self, exc: object | None) -> None: ...

    def get_buffer(self, sizehint: object) -> object: ...

    def __len__(self) -> int: ...

    def buffer_updated(self, nbytes: int) -> None: ...

    def eof_received(self) -> bool: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

class Exchange:
    """One HTTP request that Python answers."""

    @property
    def method(self) -> str: ...

    @property
    def target(self) -> bytes:
        """Path and query as sent."""

    @property
    def headers(self) -> list:
        """(name, value) pairs; names in lower case."""

    @property
    def headers_as_sent(self) -> list:
        """(name, value) pairs; names as the client spelled them."""

    @property
    def http_minor(self) -> int: ...

    @property
    def body(self) -> memoryview:
        """Body without chunk framing, still compressed when it came so."""

    @property
    def body_too_large(self) -> bool:
        """The body is past the limit and was not read."""

    @property
    def body_has_no_room(self) -> bool:
        """No shared memory was left for the body, and it was not read."""

    @property
    def content_length(self) -> int: ...

    @property
    def received_ns(self) -> int:
        """When its first byte came (monotonic clock); 0 while nothing is traced."""

    @property
    def complete_ns(self) -> int:
        """When its last byte came (monotonic clock); 0 while nothing is traced."""

    def count_at(self, route: str) -> None:
        """Count the answer at this route, whose variable parts are named."""

    def add_headers(self, headers: object) -> None:
        """Send these (bytes, bytes) pairs with the answer, whatever it is."""

    @property
    def client_gone(self) -> bool: ...

    @property
    def answered(self) -> bool: ...

    def on_client_gone(self, callback: object) -> None:
        """Call `callback()` when the client goes before it is answered."""

    def start_stream(self, status: int, headers: object) -> None:
        """Answer bit by bit from now on. Framing headers are added."""

    def write_chunk(self, data: object) -> None:
        """Send the next piece; an empty one is no piece."""

    def end_stream(self) -> None:
        """The last piece was sent."""

    @property
    def writable(self) -> bool:
        """
        A piece sent now leaves at once: earlier requests are answered, and the client reads.
        """

    def on_writable(self, callback: object) -> None:
        """Call `callback()` once, when the exchange has become writable."""

    def respond(self, status: int, headers: object, body: object) -> None:
        """
        Answer. `headers` are (bytes, bytes) pairs; `body` is bytes-like or a sequence of such. Content-Length and Connection are added.
        """

def http_fields_of(headers: bytes, *, events: bytes) -> list[tuple[bytes, bytes]]:
    """
    The server's CloudEvents fields and a model's headers (both: name, NUL, value, NUL each), as far as a head can carry them; of the latter no such fields beside the former.
    """

def grpc_pairs_of(headers: bytes, *, events: bytes) -> bytes:
    """The same for the metadata behind a gRPC call; names in lower case."""

def event_pairs(constant: bytes, *, model_name: str, id: str) -> bytes:
    """
    CloudEvents fields of an answer: `constant`, which all answers have, and its own; none without `constant`.
    """

class ParsedHead:
    """What the bytes of a request head are."""

    @property
    def status(self) -> str: ...

    @property
    def http_status(self) -> int: ...

    @property
    def reason(self) -> str: ...

    @property
    def head_bytes(self) -> int: ...

    @property
    def method(self) -> bytes: ...

    @property
    def target(self) -> bytes: ...

    @property
    def minor_version(self) -> int: ...

    @property
    def keep_alive(self) -> bool: ...

    @property
    def chunked(self) -> bool: ...

    @property
    def content_length(self) -> int | None: ...

    @property
    def fields(self) -> list[tuple[bytes, bytes]]: ...

def parse_head(data: bytes, *, max_head_bytes: int = 65536, max_fields: int = 128) -> ParsedHead:
    """Read the head of an HTTP/1.x request."""

def dechunk(data: bytes, *, max_body_bytes: int = 18446744073709551615) -> tuple[str, bytes, int]:
    """
    Decode a chunked body: ("incomplete" | "complete" | "bad", body, bytes consumed).
    """

class DecodedRequest:
    """A V2 request as the core reads it."""

    @property
    def outcome(self) -> str:
        """
        "accepted", or why the request is left to Python; the rest is then empty.
        """

    @property
    def id(self) -> str | None: ...

    @property
    def parameters_json(self) -> str: ...

    @property
    def binary_by_default(self) -> bool: ...

    @property
    def inputs(self) -> list[tuple[str, str, list[int], bytes, str]]:
        """(name, datatype, shape, data, parameters_json)"""

    @property
    def outputs(self) -> list[tuple[str, bool]]:
        """(name, binary)"""

    @property
    def sequence_id(self) -> int: ...

    @property
    def sequence_text(self) -> str: ...

    @property
    def sequence_flags(self) -> int: ...

    @property
    def regions(self) -> list[tuple[int, int, int]]:
        """
        (id, offset, bytes) in clients' memory of each input, then of each output; zeros for none
        """

def decode_infer(json: bytes, binary: bytes = ..., *, inputs: object = (), outputs: object = (), max_batch_size: int = 0, open_inputs: bool = False, open_outputs: bool = False, keep_tensor_parameters: bool = False, reads_sequences: bool = False, max_json_bytes: int = 18446744073709551615, regions: object | None = None) -> DecodedRequest:
    """Read a V2 inference request; `regions` is the `RegionTable`."""

def decode_infer_proto(message: bytes, *, inputs: object = (), outputs: object = (), max_batch_size: int = 0, open_inputs: bool = False, open_outputs: bool = False, regions: object | None = None) -> DecodedRequest:
    """Read a `ModelInferRequest`; `regions` is the `RegionTable`."""

def encode_infer(outputs: Sequence[tuple[str, str, Sequence[int], bytes, str, bool]], *, mlserver: bool = False, model_name: str, model_version: str = '', request_id: str = '', parameters_json: str = '') -> tuple[str, bytes]:
    """
    Write an HTTP answer of outputs (name, datatype, shape, data, parameters_json, binary): (outcome, bytes).
    """

def encode_infer_proto(outputs: Sequence[tuple[str, str, Sequence[int], bytes, str, bool]], *, model_name: str, model_version: str, request_id: str = '', parameters_json: str = '') -> bytes | None:
    """
    Write a `ModelInferResponse`; `None`: it is Python's to write. `outputs` as in `encode_infer`.
    """

class ProtoSink:
    """Holds the callback of a `ProtoInfer` in flight."""

class ProtoInfer:
    """`ModelInfer` in bytes, as far as it is common."""

    def __init__(self, *, dispatcher: object, on_failure: object, on_rare: object, on_headers: object) -> None:
        """
        `on_failure(code, message)` makes what a callback gets for a failure; `on_rare(Answer, in_stream)` encodes an answer that the core does not; `on_headers(message, headers)` makes what it gets for one with headers.
        """

    def submit(self, message: bytes, callback: object, in_stream: bool = False, has_context: bool = False, headers: bytes = ..., of_stream: bool = False, deadline_ns: int = 0) -> int:
        """
        Submit an encoded `ModelInferRequest`; return its token for `Dispatcher.cancel`, 0 when Python has to read it. `callback(result)` is called once, later; `in_stream` says that it is a message of Triton's stream, `headers` what a model may see of the metadata (name, NUL, value, NUL each), `of_stream` that its model may be one that answers streams, which is then Python's; what waits past `deadline_ns` of the monotonic clock is not executed.
        """

    def set_request_events(self, pairs: bytes) -> None:
        """CloudEvents fields that models see with their headers."""

    def set_answer_events(self, pairs: bytes) -> None:
        """CloudEvents fields that all answers have; those of one are added."""

    def counts(self) -> dict:
        """How many requests were taken, and declined for what."""

def http2_library_fault() -> str:
    """Why the HTTP/2 library can not be used here; "" when it can."""

class GrpcServerConfig:
    """What all gRPC connections of a frontend share."""

    def __init__(self, *, dispatcher: object, infer: object | None, settings: object, statuses: Sequence[int], codings: Sequence[int], refusal: object | None, inflate: object, deflate: object, on_crash: object, call_later: object, on_empty: object) -> None:
        """
        `infer` is a `ProtoInfer` or None; `settings` are `GrpcSettings`; `codings` say how answers are compressed, best first.
        """

    def add_method(self, path: str, handler: object, *, streams: bool, guarded: bool, infers: bool, wants_metadata: bool, kind: int) -> None:
        """
        `handler(message, call)`, or of a stream `handler(call, metadata)`, which returns what is told of the client. `kind`: as the `Traffic` counts calls.
        """

    def set_fixed(self, path: str, answer: bytes) -> None:
        """Encoded answer to empty requests of a method, from now on."""

    def drain(self) -> None:
        """Take no new calls; close each connection after its last one."""

    def abort(self) -> None:
        """Close all connections now."""

    @property
    def connections(self) -> int: ...

    @property
    def handshakes(self) -> int:
        """Connections whose TLS handshake is under way."""

    def counts(self) -> dict:
        """Calls answered natively, by a fixed answer, and by Python."""

    def set_limits(self, *, max_connections: int, receive_secs: int, send_secs: int, idle_secs: int) -> None:
        """What clients may use up; before, nothing is limited."""

    def look_at_pace(self) -> None:
        """
        End connections whose clients are too slow or idle; to be called about once a second.
        """

    @property
    def refused(self) -> int:
        """Connections that were one too many."""

class GrpcConnection:
    """One client's gRPC connection: an asyncio.BufferedProtocol."""

    def __init__(self, config: object) -> None: ...

    def connection_made(self, transport: object) -> None: ...

    def connection_lost(self, exc: object | None) -> None: ...

    def get_buffer(self, sizehint: object) -> object: ...

    def __len__(self) -> int: ...

    def buffer_updated(self, nbytes: int) -> None: ...

    def eof_received(self) -> bool: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

class GrpcCall:
    """One gRPC call that Python answers."""

    def finish(self, result: object) -> None:
        """Answer with an encoded message, or with a status that is not OK."""

    def send(self, message: object) -> None:
        """Send one encoded message of a stream."""

    def end(self, failure: object | None) -> None:
        """End a stream, with OK for None."""

    def read_on(self) -> None:
        """Ask `StreamInput.has_room` again."""

    def set_trailers(self, headers: bytes) -> None:
        """Metadata behind the answer, as `grpc_pairs_of` gives it."""

    def metadata(self) -> dict[str, str]:
        """What the client sent, by lower-case name; of repeated ones the last."""

    @property
    def writable(self) -> bool:
        """What is sent now leaves before long."""

    def on_writable(self, callback: object) -> None:
        """Call `callback()` once, when the call has become writable."""

    @property
    def received_ns(self) -> int:
        """When its head came (monotonic clock)."""

    @property
    def deadline_ns(self) -> int:
        """Until when its client waits (monotonic clock); 0: for ever."""

    def on_client_gone(self, callback: object) -> None:
        """
        Call `callback()` when the client cancels, or its deadline passes, before the answer.
        """
