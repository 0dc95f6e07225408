import pytest

from mpserve.model.config import BatchingPolicy, ModelConfig
from mpserve.model.definition import ConfigFormat
from mpserve.model.signature import Signature, TensorSpec
from mpserve.model.tensor import Datatype
from mpserve.shm.instance_port import BatchRule
from mpserve.worker.instance_rule import instance_rule

from .starts import worker_start


def config(*, max_batch_size=0, batching=None, outputs=("A",), open_outputs=False):
    return ModelConfig(
        signature=Signature(
            outputs=tuple(
                TensorSpec(name=name, datatype=Datatype.FP32, shape=(1,)) for name in outputs
            ),
            max_batch_size=max_batch_size,
            open_outputs=open_outputs,
        ),
        batching=batching,
    )


def rule_of(given, **fields):
    return instance_rule(worker_start(**fields), given)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(config(), BatchRule(), id="single"),
        pytest.param(
            config(max_batch_size=8), BatchRule(max_requests=1, max_rows=8), id="batched by clients"
        ),
        pytest.param(
            config(
                max_batch_size=8,
                batching=BatchingPolicy(preferred_sizes=(4, 8), max_delay_us=100),
            ),
            BatchRule(max_requests=8, max_rows=8, preferred_rows=(4, 8), max_delay_us=100),
            id="Triton's dynamic batching",
        ),
        pytest.param(
            config(
                batching=BatchingPolicy(max_requests=5, preferred_sizes=(5,), max_delay_us=500_000)
            ),
            BatchRule(max_requests=5, max_rows=5, preferred_rows=(5,), max_delay_us=500_000),
            id="MLServer's adaptive batching",
        ),
    ],
)
def test_requests_are_put_together_only_with_a_batching_policy(given, expected):
    assert rule_of(given).batch == expected


def test_declared_outputs_are_the_only_ones():
    rule = rule_of(config(outputs=("A", "B")))
    assert rule.output_names == ("A", "B")
    assert not rule.open_outputs
    assert rule_of(config(outputs=(), open_outputs=True)).open_outputs


def test_absent_parameters_are_what_the_peer_says():
    assert rule_of(config()).absent_parameters == "{}"
    assert rule_of(config(), format=ConfigFormat.MLSERVER).absent_parameters == ""
