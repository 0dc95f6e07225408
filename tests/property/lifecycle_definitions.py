"""Models and ensembles that the lifecycle is asked for, as small as they may be."""

from hypothesis import strategies as st

from mpserve.model.config import InstanceGroup, ModelConfig
from mpserve.model.definition import ConfigFormat, ModelDefinition, VersionDefinition
from mpserve.model.ensemble import Ensemble, Step
from mpserve.model.sequence import SequencePolicy

NAMES = ("a", "b", "c")
ENSEMBLES = ("e", "f")
SEQUENCES = SequencePolicy(slots=1, idle_us=1)


def define(name, contents, *, count, auto_complete, has_sequences):
    """Return a model whose version `v` has the content `contents[v]`."""
    return ModelDefinition(
        name=name,
        directory=f"/{name}",
        format=ConfigFormat.TRITON,
        runtime="python",
        config=ModelConfig(
            instance_groups=(InstanceGroup(name=name, count=count),),
            sequences=SEQUENCES if has_sequences else None,
        ),
        config_json="",
        auto_complete=auto_complete,
        versions=tuple(
            VersionDefinition(
                version=version,
                directory=f"/{name}/{version}",
                fingerprint=f"{content} {has_sequences}",
            )
            for version, content in sorted(contents.items())
        ),
    )


def define_ensemble(name, members):
    """Return an ensemble of these models, whose tensors are nobody's matter here."""
    steps = tuple(Step(model=one, version="", inputs={}, outputs={}) for one in members)
    return ModelDefinition(
        name=name,
        directory=f"/{name}",
        format=ConfigFormat.TRITON,
        runtime="",
        config=ModelConfig(ensemble=Ensemble(steps=steps)),
        auto_complete=False,
        versions=(
            VersionDefinition(version="1", directory=f"/{name}/1", fingerprint="".join(members)),
        ),
    )


definitions = st.builds(
    lambda contents, **others: (contents, others),
    st.dictionaries(st.sampled_from("123"), st.integers(0, 3), min_size=1, max_size=3),
    count=st.integers(1, 3),
    auto_complete=st.booleans(),
    has_sequences=st.booleans(),
)
