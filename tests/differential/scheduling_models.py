"""Models that note what they are given: batches, sequences and ensembles that both servers run."""

from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import numpy as np

from tests.fixtures.ensembles import Step

RECORDER = dedent(
    """
    import json
    import time
    from pathlib import Path

    import numpy as np
    import triton_python_backend_utils as pb_utils


    def plain(value):
        return value.decode() if isinstance(value, bytes) else value.item()


    def told(tensor):
        array = tensor.as_numpy()
        return [str(array.dtype), list(array.shape), [plain(one) for one in array.reshape(-1)]]


    class TritonPythonModel:
        def initialize(self, args):
            config = json.loads(args["model_config"])
            self.folder = Path(config["parameters"]["folder"]["string_value"])
            self.name = args["model_name"]
            self.outputs = [one["name"] for one in config["output"]]
            policy = config.get("model_transaction_policy", {})
            self.is_decoupled = policy.get("decoupled", False)

        def note(self, *row):
            with (self.folder / "notes").open("a") as notes:
                notes.write(json.dumps([self.name, *row]) + "\\n")

        def execute(self, requests):
            rows = [self.seen(request) for request in requests]
            self.note("begin", rows)
            if any(row["VALUE"][2] == [-1] for row in rows if "VALUE" in row):
                while (self.folder / "gate").exists():
                    time.sleep(0.005)
                self.note("goes on")
            if self.is_decoupled:
                for request in requests:
                    self.send_until_cancelled(request)
                return None
            return [self.answer(request) for request in requests]

        def seen(self, request):
            row = {one.name(): told(one) for one in request.inputs()}
            if not row.get("READY", ["", [], [True]])[2][0]:
                row["VALUE"] = ["of nobody", [], []]  # it may hold anything
            return {
                **row,
                "id": request.request_id(),
                "correlation": request.correlation_id(),
                "flags": request.flags(),
            }

        def answer(self, request):
            value = pb_utils.get_input_tensor_by_name(request, "VALUE").as_numpy()
            return pb_utils.InferenceResponse(
                [pb_utils.Tensor(name, value) for name in self.outputs]
            )

        def send_until_cancelled(self, request):
            sender = request.get_response_sender()
            begun = time.monotonic()
            while not sender.is_cancelled() and time.monotonic() - begun < 10:
                sender.send(self.answer(request))
                time.sleep(0.05)
            self.note("cancelled", sender.is_cancelled(), request.is_cancelled())
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
    """
)

VALUE = '{ name: "VALUE" data_type: TYPE_INT32 dims: [1] }'
MORE = '{ name: "MORE" data_type: TYPE_INT32 dims: [1] optional: true }'
ONE = "instance_group { count: 1 kind: KIND_CPU }"
TWO = "instance_group { count: 2 kind: KIND_CPU }"
LANE = (
    "instance_group {{ count: 1 kind: KIND_CPU "
    'rate_limiter {{ resources {{ name: "R" count: 1 }} priority: {} }} }}'
)
VALUES = {  # what a control is when it is not set, and when it is
    "bool": "bool_false_true: [ false, true ]",
    "int32": "int32_false_true: [ 0, 1 ]",
    "fp32": "fp32_false_true: [ 0, 1 ]",
}
CORRELATIONS = ("UINT64", "INT64", "UINT32", "INT32")
FIRST = {
    "zero": "zero_data: true",
    "file": 'data_file: "first"',
}


def batching(text: str, *, rows: int = 0) -> str:
    return f"{ONE} max_batch_size: {rows} dynamic_batching {{ {text} }}"


def control(name: str, form: str) -> str:
    return f'{{ name: "{name}" control [ {{ kind: CONTROL_SEQUENCE_{name} {form} }} ] }}'


def sequences(strategy: str, *controls: str, rows: int = 0, more: str = "") -> str:
    listed = f"control_input [ {', '.join(controls)} ]" if controls else ""
    idle = "max_sequence_idle_microseconds: 60000000"
    return f"{ONE} max_batch_size: {rows} sequence_batching {{ {strategy} {idle} {listed} {more} }}"


def state(first: str) -> str:
    return (
        'state [ { input_name: "KEPT" output_name: "NEXT" data_type: TYPE_INT32 dims: [ 2 ] '
        f'initial_state {{ name: "first" data_type: TYPE_INT32 dims: [ 2 ] {first} }} }} ]'
    )


def models() -> Iterator[tuple[str, str]]:
    """Return names and configurations."""
    policy = "default_queue_policy"
    yield "preferring", batching("preferred_batch_size: [ 3 ]", rows=8)
    yield (
        "growing",
        batching("preferred_batch_size: [ 2, 4 ] max_queue_delay_microseconds: 5000000", rows=8),
    )
    yield "levels", batching("priority_levels: 3 default_priority_level: 2")
    yield (
        "late",
        batching(
            "priority_levels: 2 default_priority_level: 1 "
            f"{policy} {{ timeout_action: DELAY default_timeout_microseconds: 2500000 }}"
        ),
    )
    yield "limited", batching(f"{policy} {{ max_queue_size: 3 }}")
    yield (
        "override",
        batching(
            f"{policy} {{ default_timeout_microseconds: 6000000 allow_timeout_override: true }}"
        ),
    )
    yield "ordered", f"{TWO} dynamic_batching {{ preserve_ordering: true }}"
    for lane, priority in {"lane_a": 1, "lane_b": 1, "often": 1, "seldom": 3}.items():
        yield lane, LANE.format(priority)
    strategies = {"direct": "direct { }", "oldest": "oldest { max_candidate_sequences: 2 }"}
    for name, strategy in strategies.items():
        yield f"few_{name}", sequences(strategy, control("READY", VALUES["bool"]), rows=2)
        yield f"plain_{name}", sequences(strategy, rows=4)
    for rows in (0, 4):
        for kind, form in VALUES.items():
            flags = [control(name, form) for name in ("START", "END", "READY")]
            yield f"flags_{kind}_{rows}", sequences("direct { }", *flags, rows=rows)
        for kind in CORRELATIONS:
            told = control("CORRID", f"data_type: TYPE_{kind}")
            yield f"corrid_{kind}_{rows}", sequences("direct { }", told, rows=rows)
    for name, first in FIRST.items():
        yield f"state_{name}", sequences("direct { }", more=state(first))
    yield "optional", ONE
    yield "kept", sequences("direct { }")
    yield "stream", f"{ONE} model_transaction_policy {{ decoupled: true }}"


def write_models(root: Path, notes: Path) -> Path:
    """Write them all; they note what they are given in the folder `notes`."""
    notes.mkdir(parents=True)
    parameter = f'parameters {{ key: "folder" value {{ string_value: "{notes}" }} }}'
    output = 'output [ { name: "OUT" data_type: TYPE_INT32 dims: [1] } ]'
    for name, config in models():
        inputs = f"{VALUE}, {MORE}" if name == "optional" else VALUE
        text = f'backend: "python" input [ {inputs} ] {output} {parameter} {config}'
        files = {"1/model.py": RECORDER.encode(), "config.pbtxt": text.encode()}
        if name.startswith("state_"):
            files["initial_state/first"] = np.array([7, 8], np.int32).tobytes()
        for path, content in files.items():
            (root / name / path).parent.mkdir(parents=True, exist_ok=True)
            (root / name / path).write_bytes(content)
    return root


# --- ensembles -----------------------------------------------------------------------------------

X, M = (f'{{ name: "{one}" data_type: TYPE_INT32 dims: [1] }}' for one in "XM")
NEEDED_M, M = M, M.replace(" }", " optional: true }")
Y = X.replace("X", "Y")


def step(model: str, inputs: dict[str, str], output: str | None = "Y") -> Step:
    return Step(model, inputs, {"OUT": output} if output else {})


ENSEMBLES: dict[str, tuple[str, str, list[Step]]] = {
    "optional_input": (f"{X}, {M}", Y, [step("optional", {"VALUE": "X", "MORE": "M"})]),
    "input_left_out": (X, Y, [step("optional", {"VALUE": "X"})]),
    "needed_marked_optional": (M, Y, [step("optional", {"VALUE": "M"})]),
    "optional_chain": (
        f"{X}, {M}",
        Y,
        [
            step("optional", {"VALUE": "X", "MORE": "M"}, "T"),
            step("optional", {"VALUE": "T", "MORE": "M"}),
        ],
    ),
    "same_tensor_twice": (X, Y, [step("optional", {"VALUE": "X", "MORE": "X"})]),
    "unread_input": (f"{X}, {NEEDED_M}", Y, [step("optional", {"VALUE": "X"})]),
    "unread_output": (
        X, Y, [step("optional", {"VALUE": "X"}), step("optional", {"VALUE": "X"}, "T")]
    ),
    "output_of_nobody": (X, Y, [step("optional", {"VALUE": "X"}, "T")]),
    "input_of_nobody": (X, Y, [step("optional", {"VALUE": "Q"})]),
    "step_without_outputs": (
        X, Y, [step("optional", {"VALUE": "X"}), step("optional", {"VALUE": "Y"}, None)]
    ),
    "one_output_of_two_steps": (X, Y, [step("optional", {"VALUE": "X"})] * 2),
    "unknown_input": (X, Y, [step("optional", {"VALUE": "X", "NOPE": "X"})]),
    "unknown_output": (X, Y, [Step("optional", {"VALUE": "X"}, {"NOPE": "Y"})]),
    "no_steps": (X, Y, []),
    "sequence": (X, Y, [step("kept", {"VALUE": "X"})]),
    "undeclared_stream": (X, Y, [step("stream", {"VALUE": "X"})]),
}  # fmt: skip


def write_ensembles(root: Path) -> None:
    """Write ensembles, of which some can not be loaded."""
    for name, (inputs, outputs, steps) in ENSEMBLES.items():
        graph = ", ".join(one.text for one in steps)
        config = f'platform: "ensemble" input [ {inputs} ] output [ {outputs} ] '
        (root / name / "1").mkdir(parents=True)
        (root / name / "config.pbtxt").write_text(
            f"{config} ensemble_scheduling {{ step [ {graph} ] }}"
        )
