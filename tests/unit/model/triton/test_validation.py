import pytest

from mpserve.errors import InvalidRequest, Unsupported
from mpserve.model.config import MAX_INSTANCES
from mpserve.model.triton.normalization import normalize
from mpserve.model.triton.validation import (
    validate,
    validate_file_names,
    validate_instance_groups,
    validate_tensors,
)
from mpserve.repository.triton.pbtxt import parse_text_config
from mpserve.shm import model_queue


def parsed(text):
    return normalize(parse_text_config(f'name: "m" {text}', path="p"))


PYTHON = 'backend: "python" max_batch_size: 8 '
BATCHING = f"{PYTHON} dynamic_batching {{ %s }}"
SEQUENCE = f"{PYTHON} sequence_batching {{ %s }}"
STATE = 'state { input_name: "%s" output_name: "b" data_type: TYPE_FP32 dims: 1 }'
CONTROL = SEQUENCE % 'control_input { name: "c" control { %s } }'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('platform: "what"', "unexpected platform type 'what' for m"),
        (
            'platform: "ensemble" backend: "python"',
            "Ensemble model 'm' must have platform type 'ensemble' and empty backend type",
        ),
        (
            'platform: "tensorrt_plan" backend: "onnxruntime"',
            "unexpected 'platform' and 'backend' pair, got:tensorrt_plan, onnxruntime",
        ),
        (
            'backend: "python" max_batch_size: -1',
            "'max_batch_size' must be non-negative value for m",
        ),
        (
            BATCHING % "preferred_batch_size: 0",
            "dynamic batching preferred size must be positive for m",
        ),
        (
            BATCHING % "preferred_batch_size: [4, 9]",
            "dynamic batching preferred size must be <= max batch size for m",
        ),
        (
            BATCHING % "priority_levels: 2",
            "default priority level must be in range [1, 2] for m",
        ),
        (
            BATCHING % "priority_levels: 2 default_priority_level: 1 "
            "priority_queue_policy { key: 3 value {} }",
            "priority queue policy must have priority level in range [1, 2] for m",
        ),
        (
            BATCHING % "preserve_ordering: true priority_levels: 2 default_priority_level: 1",
            "Only one priority level is allowed when 'preserve_ordering' is true for m",
        ),
        (
            BATCHING % "preserve_ordering: true default_queue_policy { timeout_action: DELAY "
            "default_timeout_microseconds: 1 }",
            "Queue policy can not have DELAY as timeout action when 'preserve_ordering' is true "
            "for m",
        ),
        (
            SEQUENCE % "" + "response_cache { enable: true }",
            "Response Cache does not currently support model m with sequence batching scheduler. "
            "Please disable the response cache.",
        ),
        (
            PYTHON + "response_cache { enable: true } model_transaction_policy { decoupled: true }",
            "Response Cache does not currently support model m with 'decoupled' transaction "
            "policy. Please disable the response cache.",
        ),
    ],
)
def test_invalid_configurations_are_refused_in_tritons_words(text, message):
    with pytest.raises(InvalidRequest) as refused:
        validate(parsed(text))
    assert str(refused.value) == message


def test_a_name_is_needed():
    with pytest.raises(InvalidRequest, match="^model configuration must specify 'name'$"):
        validate(parse_text_config('backend: "python"', path="p"))


CHOICE = "'int32_false_true', 'fp32_false_true' or 'bool_false_true'"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            SEQUENCE % "oldest { preferred_batch_size: -1 }",
            "sequence batching preferred batch size must be positive for m",
        ),
        (
            SEQUENCE % "oldest { preferred_batch_size: 9 }",
            "sequence batching preferred batch size must be <= max batch size for m",
        ),
        (
            SEQUENCE % "direct { max_queue_delay_microseconds: 1 minimum_slot_utilization: 2 }",
            "sequence batching minimum slot utilization must be in range (0.0, 1.0] for m",
        ),
        (
            SEQUENCE % "control_input { }",
            "sequence batching control tensor must have a name for m",
        ),
        (
            SEQUENCE % 'control_input { name: "c" control { bool_false_true: [false, true] } '
            "control { kind: CONTROL_SEQUENCE_END } }",
            "sequence batching control tensor 'c' is specified for multiple control kinds for m",
        ),
        (
            SEQUENCE % 'control_input { name: "c" control { bool_false_true: [false, true] } } '
            'control_input { name: "d" control { bool_false_true: [false, true] } }',
            "sequence batching specifies multiple CONTROL_SEQUENCE_START tensors for m",
        ),
        (
            CONTROL % "kind: CONTROL_SEQUENCE_END",
            f"sequence batching must specify either {CHOICE} for CONTROL_SEQUENCE_END for m",
        ),
        (
            CONTROL % "int32_false_true: [0, 1] fp32_false_true: [0, 1]",
            "sequence batching specifies more than one from 'int32_false_true', "
            "'fp32_false_true' and 'bool_false_true' for CONTROL_SEQUENCE_START for m",
        ),
        (
            CONTROL % "int32_false_true: [0, 1, 2]",
            "sequence batching control 'int32_false_true' must have exactly 2 entries for "
            "CONTROL_SEQUENCE_START for m",
        ),
        (
            CONTROL % "kind: CONTROL_SEQUENCE_CORRID int32_false_true: [0, 1]",
            f"sequence batching must not specify either {CHOICE} for CONTROL_SEQUENCE_CORRID for m",
        ),
        (
            CONTROL % "kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_FP32",
            "unexpected data type for control CONTROL_SEQUENCE_CORRID for m. Allowed data types "
            "are TYPE_UINT64, TYPE_INT64, TYPE_UINT32, TYPE_INT32 and TYPE_STRING",
        ),
        (
            SEQUENCE % 'state { input_name: "a" } state { input_name: "a" }',
            "State input name 'a' specified more than once.",
        ),
        (
            SEQUENCE % 'state { input_name: "a" initial_state { } }',
            "Field 'name' must be set when using initial_state for state input 'a'.",
        ),
        (
            SEQUENCE
            % 'state { input_name: "a" initial_state { name: "x" } initial_state { name: "y" } }',
            "initial_state field for state input 'a' must contain exactly one or zero element. "
            "Found '2' elements.",
        ),
        (
            SEQUENCE % 'state { input_name: "a" data_type: TYPE_FP32 initial_state '
            '{ name: "x" data_type: TYPE_INT32 zero_data: true } }',
            "The data type used for 'initial_state' field of state 'a' does not match the state "
            "data type.",
        ),
        (
            SEQUENCE % 'state { input_name: "a" initial_state { name: "x" } }',
            "initial_state of state input 'a' must have zero_data or data_file set",
        ),
        (
            SEQUENCE % 'state { input_name: "a" dims: [ 2, 2 ] initial_state '
            '{ name: "x" dims: 2 zero_data: true } }',
            "Number of dimensions in 'initial_state' doesn't match the size of 'state' dimensions "
            "for state input 'a'. 1 != 2",
        ),
        (
            SEQUENCE % 'state { input_name: "a" dims: -1 initial_state '
            '{ name: "x" dims: -1 zero_data: true } }',
            "'initial_state' field for state input name 'a' contains variable dimensions.",
        ),
        (
            SEQUENCE % 'state { input_name: "a" dims: 2 initial_state '
            '{ name: "x" dims: 3 zero_data: true } }',
            "'initial_state' dim for input name 'a' doesn't match 'state' dim description. 3 != 2",
        ),
        (
            SEQUENCE % 'state { input_name: "a" initial_state { name: "x" data_file: "../a" } }',
            "initial_state data file '../a' of state input 'a' is outside the folder "
            "'initial_state'",
        ),
        (
            SEQUENCE % 'state { input_name: "a" }',
            "sequence batching state must specify 'input_name' and 'output_name' for m",
        ),
        (
            SEQUENCE % 'state { input_name: "a" output_name: "b" dims: 1 data_type: TYPE_BF16 }',
            "state input 'a' must specify a 'data_type' other than TYPE_BF16 for m",
        ),
        (
            SEQUENCE % 'state { input_name: "a" output_name: "b" data_type: TYPE_FP32 }',
            "state input 'a' must specify 'dims' of sizes >= 1, or -1 for any, for m",
        ),
        (
            SEQUENCE % f"{STATE % 'a'} {STATE % 'c'}",
            "State output name 'b' specified more than once.",
        ),
        (
            SEQUENCE % STATE.replace("}", "use_growable_memory: true }") % "a",
            "In order to 'use_growable_memory', you must also enable 'use_single_buffer' for state "
            "input name 'a'.",
        ),
        (
            SEQUENCE
            % STATE.replace(
                "}", "use_growable_memory: true use_same_buffer_for_input_output: true }"
            )
            % "a",
            "'use_growable_memory' can only work with KIND_GPU model instances right now. Please "
            "either change the instance type to KIND_GPU or set 'use_growable_memory' to false for "
            "state input 'a'.",
        ),
    ],
)
def test_invalid_sequence_batching_is_refused(text, message):
    with pytest.raises(InvalidRequest) as refused:
        validate(parsed(text))
    assert str(refused.value) == message


STEP = (
    'step { model_name: "s" input_map { key: "i" value: "%s" } '
    'output_map { key: "o" value: "%s" } }'
)
ENSEMBLE = 'platform: "ensemble" input { name: "x" } output { name: "y" } '


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'backend: "python" ensemble_scheduling {}',
            "ensemble scheduling cannot be set for model 'm' whose platform is not ensemble",
        ),
        (
            'platform: "ensemble"',
            "ensemble scheduling must be set for ensemble m whose platform is ensemble",
        ),
        (
            f"{ENSEMBLE} ensemble_scheduling {{ }} instance_group {{ count: 1 }}",
            "instance group should not be specified for ensemble 'm'",
        ),
        (
            f"{ENSEMBLE} ensemble_scheduling {{ }} optimization {{ eager_batching: true }}",
            "optimization should not be specified for ensemble 'm'",
        ),
        (
            f'{ENSEMBLE} ensemble_scheduling {{ }} model_warmup {{ name: "w" }}',
            "model_warmup can not be specified for ensemble 'm'",
        ),
        (f"{ENSEMBLE} ensemble_scheduling {{ }}", "must specify 'step' for ensemble 'm'"),
        (
            f"{ENSEMBLE} ensemble_scheduling {{ step {{ }} }}",
            "must specify 'model_name' in step 0 of ensemble 'm'",
        ),
        (
            f'{ENSEMBLE} ensemble_scheduling {{ step {{ model_name: "s" }} }}',
            "must specify 'input_map' in step 0 of ensemble 'm'",
        ),
        (
            f"{ENSEMBLE} ensemble_scheduling {{ {STEP % ('x', 'y')} {STEP % ('x', 'y')} }}",
            "ensemble tensor 'y' can appear in an output map only once for ensemble 'm' step 1",
        ),
        (
            f'{ENSEMBLE} input {{ name: "z" }} ensemble_scheduling {{ {STEP % ("x", "y")} }}',
            "ensemble input 'z' for ensemble m is not used",
        ),
        (
            f"{ENSEMBLE} ensemble_scheduling {{ {STEP % ('x', 'z')} }}",
            "ensemble output 'y' for ensemble m is not used",
        ),
        (
            f"{ENSEMBLE} ensemble_scheduling {{ {STEP % ('x', 'a')} {STEP % ('b', 'y')} }}",
            "output 'y' for ensemble 'm' is not written: at least one of its depending tensors, "
            "'b', is not connected",
        ),
        (
            f"{ENSEMBLE} ensemble_scheduling "
            f"{{ {STEP % ('x', 'y')} {STEP % ('a', 'b')} {STEP % ('b', 'a')} }}",
            "output 'a' for ensemble 'm' is not written: at least one of its depending tensors, "
            "'b', is not connected",
        ),
        (
            f"{ENSEMBLE} ensemble_scheduling "
            "{ step { model_name: 's' input_map { key: 'i' value: 'x' } "
            "input_map { key: 'j' value: 'b' } output_map { key: 'o' value: 'y' } } }",
            "output 'y' for ensemble 'm' is not written: at least one of its depending tensors, "
            "'b', is not connected",
        ),
        (
            f"{ENSEMBLE} ensemble_scheduling {{ {STEP % ('x', 'y')} {STEP % ('x', 'z')} }}",
            "ensemble tensor 'z' is unused in ensemble 'm'",
        ),
    ],
)
def test_invalid_ensembles_are_refused(text, message):
    with pytest.raises(InvalidRequest) as refused:
        validate(parsed(text))
    assert str(refused.value) == message


GOOD = 'name: "x" data_type: TYPE_FP32 dims: %s'


@pytest.mark.parametrize("kind", ["input", "output"])
@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        ("data_type: TYPE_FP32 dims: 1", "must specify 'name'"),
        ('name: "x" dims: 1', "'x' must specify 'data_type'"),
        ('name: "x" data_type: TYPE_FP32', "'x' must specify 'dims'"),
        (
            GOOD % "[2, 0]",
            "'x' dimension must be integer >= 1, or -1 to indicate a variable-size dimension",
        ),
        (
            GOOD % "-2",
            "'x' dimension must be integer >= 1, or -1 to indicate a variable-size dimension",
        ),
        (
            GOOD % "1 reshape { }",
            "'x' cannot have empty reshape for non-batching model as scalar tensors are not "
            "supported",
        ),
        (
            GOOD % "1 reshape { shape: 0 }",
            "'x' reshape dimensions must be integer >= 1, or -1 to indicate a variable-size "
            "dimension",
        ),
        (GOOD % "[2, 3] reshape { shape: 5 }", "'x' has different size for dims and reshape"),
        (
            GOOD % "[-1, 3] reshape { shape: 3 }",
            "'x' has different number of variable-size dimensions for dims and reshape",
        ),
        (
            GOOD % "1 is_shape_tensor: true",
            "shape tensors are only supported for TensorRT platform",
        ),
        (
            GOOD % "1 is_non_linear_format_io: true",
            "non-linear IO formats are only supported for TensorRT platform",
        ),
    ],
)
def test_invalid_tensors_are_refused(kind, tensor, message):
    with pytest.raises(InvalidRequest) as refused:
        validate_tensors(parsed(f'backend: "python" {kind} {{ {tensor} }}'))
    assert str(refused.value) == f"model {kind} {message} for m"


def test_an_image_format_needs_three_dimensions():
    with pytest.raises(InvalidRequest, match="^model input NHWC/NCHW require 3 dims for m$"):
        validate_tensors(parsed(f"input {{ {GOOD % '[1, 2]'} format: FORMAT_NCHW }}"))


@pytest.mark.parametrize(
    "tensor",
    [
        GOOD % "[2, -1]",
        GOOD % "[2, 3] reshape { shape: [3, 2] }",
        GOOD % "[2, -1] reshape { shape: [-1, 2] }",
    ],
)
def test_valid_tensors_pass(tensor):
    validate_tensors(parsed(f"input {{ {tensor} }} output {{ {tensor} }}"))


def test_a_batching_model_may_reshape_to_a_scalar():
    validate_tensors(parsed(f"max_batch_size: 2 input {{ {GOOD % '1'} reshape {{ }} }}"))


@pytest.mark.parametrize(
    ("group", "gpus", "message"),
    [
        ("kind: KIND_GPU", (), "kind KIND_GPU but server does not support GPUs"),
        ("kind: KIND_CPU gpus: 0", (0,), "kind KIND_CPU but specifies one or more GPUs"),
        ("kind: KIND_MODEL gpus: 0", (0,), "kind KIND_MODEL but specifies one or more GPUs"),
        (
            "kind: KIND_GPU gpus: [0, 3]",
            (0,),
            "kind KIND_GPU and specifies invalid or unsupported gpu id 3",
        ),
    ],
)
def test_invalid_instance_groups_are_refused(group, gpus, message):
    config = parsed(f'instance_group {{ name: "g" {group} }}')
    with pytest.raises(InvalidRequest) as refused:
        validate_instance_groups(config, gpus=gpus)
    assert str(refused.value) == f"instance group g of model m has {message}"


@pytest.mark.parametrize("counts", [[65], [60, 5], [1] * 65, [100_000]], ids=str)
def test_more_instances_than_a_queue_can_have_are_refused(counts):
    """100,000 kept the supervisor from its beats, and were started one after another."""
    text = " ".join(f"instance_group {{ count: {count} kind: KIND_CPU }}" for count in counts)
    with pytest.raises(
        InvalidRequest, match=f"model m has {sum(counts)} instances in its instance"
    ):
        validate_instance_groups(parsed(text), gpus=())
    most = parsed("instance_group { count: 64 kind: KIND_CPU }")
    validate_instance_groups(most, gpus=())
    assert MAX_INSTANCES == model_queue.MAX_INSTANCES


@pytest.mark.parametrize("path", ["/etc/labels", "../labels", "a/../../labels"])
def test_labels_outside_the_model_are_refused(path):
    with pytest.raises(Unsupported) as refused:
        validate_file_names(parsed(f'output {{ name: "o" label_filename: "{path}" }}'))
    assert str(refused.value) == (
        f"label file path '{path}' for output 'o' in model 'm' is outside model directory"
    )


@pytest.mark.parametrize("path", ["/etc/model.py", "../2/model.py", "a/../../model.py"])
def test_a_model_file_outside_its_version_is_refused(path):
    with pytest.raises(Unsupported) as refused:
        validate_file_names(parsed(f'{PYTHON} default_model_filename: "{path}"'))
    assert str(refused.value) == (
        f"'default_model_filename' '{path}' of model 'm' is outside version directory"
    )


def test_a_model_file_below_its_version_passes():
    validate_file_names(parsed(f'{PYTHON} default_model_filename: "code/a..b.py"'))


def test_labels_within_the_model_pass():
    validate_file_names(parsed('output { name: "o" label_filename: "labels/a..b.txt" }'))


@pytest.mark.parametrize(
    "text",
    [
        PYTHON,
        BATCHING % "preferred_batch_size: [4, 8] preserve_ordering: true priority_levels: 1 "
        "default_priority_level: 1",
        SEQUENCE % 'control_input { name: "s" control { int32_false_true: [0, 1] } } '
        'control_input { name: "i" control { kind: CONTROL_SEQUENCE_CORRID '
        "data_type: TYPE_UINT64 } }",
        f"{ENSEMBLE} ensemble_scheduling {{ {STEP % ('x', 'z')} {STEP % ('z', 'y')} }}",
    ],
)
def test_valid_configurations_pass(text):
    validate(parsed(text))
