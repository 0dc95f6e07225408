import pytest

from mpserve.dialect import GrpcCode
from mpserve.frontend.grpc.restriction import CATEGORIES, MethodRestrictions
from mpserve.model.proto.schema import (
    HEALTH,
    MLSERVER_DATAPLANE,
    MLSERVER_REPOSITORY,
    MODEL_CONFIG,
    REFLECTION,
    TRITON_SERVICE,
    schema,
)
from mpserve.settings import Category, Restriction

INFER = "/inference.GRPCInferenceService/ModelInfer"
RESTRICTED = MethodRestrictions(
    [Restriction(category=Category.INFERENCE, key="Key", value="secret")]
)


@pytest.mark.parametrize(
    "files",
    [(MODEL_CONFIG, TRITON_SERVICE), (MLSERVER_DATAPLANE,), (MLSERVER_REPOSITORY,), (HEALTH,),
     (REFLECTION,)],
)  # fmt: skip
def test_every_method_has_a_category(files):
    methods = {
        name for service in schema(*files).services().values() for name in service.methods_by_name
    }
    assert methods <= set(CATEGORIES)


@pytest.mark.parametrize("metadata", [{}, {"triton-grpc-protocol-key": "wrong"}])
def test_a_restricted_method_needs_its_secret(metadata):
    failure = RESTRICTED.refusal(INFER, metadata)
    assert failure is not None
    assert failure.code is GrpcCode.UNAVAILABLE
    assert failure.message == (
        "This protocol is restricted, expecting header 'triton-grpc-protocol-Key'"
    )


def test_the_secret_opens_it():
    assert RESTRICTED.refusal(INFER, {"triton-grpc-protocol-key": "secret"}) is None


def test_other_methods_are_open():
    assert RESTRICTED.refusal("/inference.GRPCInferenceService/ServerLive", {}) is None
    assert RESTRICTED.refusal("/nobody/Knows", {}) is None
    assert not MethodRestrictions()
