import pytest

from mpserve.model.config import BatchingPolicy, ModelConfig
from mpserve.model.definition import ConfigFormat
from mpserve.model.signature import Signature, TensorSpec
from mpserve.model.tensor import Datatype
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
    ("given", "max_requests", "max_rows"),
    [
        (config(), 1, 1),
        (config(max_batch_size=8), 1, 8),
        (config(max_batch_size=8, batching=BatchingPolicy()), 8, 8),
    ],
    ids=["single", "batched by clients", "batched by the server"],
)
def test_requests_are_put_together_only_with_a_batching_policy(given, max_requests, max_rows):
    rule = rule_of(given)
    assert (rule.max_requests, rule.max_rows) == (max_requests, max_rows)


def test_declared_outputs_are_the_only_ones():
    rule = rule_of(config(outputs=("A", "B")))
    assert rule.output_names == ("A", "B")
    assert not rule.open_outputs
    assert rule_of(config(outputs=(), open_outputs=True)).open_outputs


def test_absent_parameters_are_what_the_peer_says():
    assert rule_of(config()).absent_parameters == "{}"
    assert rule_of(config(), format=ConfigFormat.MLSERVER).absent_parameters == ""
