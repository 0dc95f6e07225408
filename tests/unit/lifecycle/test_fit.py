"""Models of an ensemble that fit together, or do not: Triton's texts."""

import pytest

from mpserve.lifecycle.fit import misfit
from mpserve.model.config import ModelConfig
from mpserve.model.ensemble import Ensemble, Step
from mpserve.model.signature import Signature, TensorSpec
from mpserve.model.tensor import Datatype


def spec(text, *, batches=False):
    """`name:FP32[1,-1]`, a `?` before the colon for an optional one."""
    name, _, rest = text.partition(":")
    word, _, dims = rest.rstrip("]").partition("[")
    shape = tuple(int(size) for size in dims.split(",") if size)
    return TensorSpec(
        name=name.rstrip("?"),
        datatype=Datatype[word],
        shape=(-1, *shape) if batches else shape,
        optional=name.endswith("?"),
    )


def model(inputs, outputs, *, batch=0, decoupled=False):
    return ModelConfig(
        signature=Signature(
            inputs=tuple(spec(text, batches=batch > 0) for text in inputs.split()),
            outputs=tuple(spec(text, batches=batch > 0) for text in outputs.split()),
            max_batch_size=batch,
        ),
        decoupled=decoupled,
    )


def graph(inputs, outputs, *steps, batch=0):
    config = model(inputs, outputs, batch=batch)
    made = tuple(
        Step(model=name, version="", inputs=mapped, outputs=given) for name, mapped, given in steps
    )
    return ModelConfig(signature=config.signature, ensemble=Ensemble(steps=made))


ONE = ("m", {"i": "X"}, {"o": "Y"})
TWO = (("m", {"i": "X"}, {"o": "T"}), ("n", {"i": "T"}, {"o": "Y"}))
PLAIN = model("i:FP32[4]", "o:FP32[4]")


@pytest.mark.parametrize(
    ("config", "members"),
    [
        pytest.param(graph("X:FP32[4]", "Y:FP32[4]", ONE), [PLAIN], id="equal"),
        pytest.param(graph("X:FP32[-1]", "Y:FP32[4]", ONE), [PLAIN], id="any size"),
        pytest.param(
            graph("X:FP32[4]", "Y:FP32[4]", *TWO),
            [PLAIN, model("i:FP32[4]", "o:FP32[4]", batch=2)],
            id="with and without a batch",
        ),
        pytest.param(
            graph("X:FP32[4]", "Y:FP32[4]", ONE),
            [model("i:FP32[4] j?:FP32[1]", "o:FP32[4] p:FP32[1]")],
            id="optional input and unused output",
        ),
        pytest.param(
            graph("X:FP32[4]", "Y:FP32[4]", ONE),
            [ModelConfig(signature=Signature(open_inputs=True, open_outputs=True))],
            id="nothing declared",
        ),
    ],
)
def test_models_that_fit_pass(config, members):
    assert misfit("e", config, members) is None


@pytest.mark.parametrize(
    ("config", "members", "text"),
    [
        (
            graph("X:FP32[4]", "Y:FP32[4]", *TWO),
            [PLAIN, model("i:INT64[4]", "o:FP32[4]")],
            "in ensemble e, ensemble tensor T: inconsistent data type: TYPE_FP32 is inferred from "
            "model m while TYPE_INT64 is inferred from model n",
        ),
        (
            graph("X:FP32[4]", "Y:FP32[2]", ONE),
            [PLAIN],
            "in ensemble e, ensemble tensor Y: inconsistent shape: [2] is inferred from model e "
            "while [4] is inferred from model m",
        ),
        (
            graph("X:FP32[4]", "Y:FP32[4]", ("m", {"i": "X", "k": "X"}, {"o": "Y"})),
            [PLAIN],
            "in ensemble e, ensemble tensor X is mapping to non-existing input k in model m",
        ),
        (
            graph("X:FP32[4]", "Y:FP32[4]", ("m", {"i": "X"}, {"o": "Y", "q": "Z"})),
            [PLAIN],
            "in ensemble e, ensemble tensor Z is mapped from non-existing output q in model m",
        ),
        (
            graph("X:FP32[4]", "Y:FP32[4]", ONE),
            [model("i:FP32[4] j:FP32[4]", "o:FP32[4]")],
            "in ensemble e, input j in model m is not mapped to any ensemble tensors",
        ),
        (
            graph("X:FP32[4]", "Y:FP32[4]", ("m", {"i": "X"}, {"o": "Y", "p": "Y"})),
            [model("i:FP32[4]", "o:FP32[4] p:FP32[4]")],
            "in ensemble e, multiple outputs in model m are mapped to the same ensemble tensor Y",
        ),
        (
            graph("X:FP32[4]", "Y:FP32[4]", ONE, batch=8),
            [model("i:FP32[4]", "o:FP32[4]", batch=4)],
            "ensemble e allows maximum batch size 8, but it contains model m which only allows "
            "maximum batch size to be 4",
        ),
        (
            graph(
                "X:FP32[4]",
                "Y:FP32[4]",
                ("d", {"i": "X"}, {"o": "S"}),
                ("f", {"i": "X"}, {"o": "T"}),
                ("m", {"i": "S", "j": "T"}, {"o": "Y"}),
            ),
            [
                model("i:FP32[4]", "o:FP32[4]", decoupled=True),
                model("i:FP32[4]", "o:FP32[4]", decoupled=True),
                model("i:FP32[4] j:FP32[4]", "o:FP32[4]"),
            ],
            "in ensemble e, step of model 'm' receives inputs originated from different decoupled "
            "models",
        ),
    ],
)
def test_models_that_do_not_fit_are_told(config, members, text):
    assert misfit("e", config, members) == text
