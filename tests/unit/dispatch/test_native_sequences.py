"""Which requests of sequences the core takes, and which it leaves to Python."""

import msgspec
import pytest

from mpserve.codec.proto_infer import ProtoInfer
from mpserve.dispatch.routes import Routes
from mpserve.errors import ErrorCode
from mpserve.model.config import ModelConfig
from mpserve.model.proto.schema import MODEL_CONFIG, TRITON_SERVICE, schema
from mpserve.model.request import SequenceMark
from mpserve.model.sequence import ControlKind, SequenceControl
from mpserve.model.tensor import Datatype
from tests.unit.dispatch.test_routes import OPEN, SEQUENCED, SEQUENCES, Place, place
from tests.unit.dispatch.test_sequence_routes import World

__all__ = ["place"]  # a fixture

REQUEST = schema(MODEL_CONFIG, TRITON_SERVICE).message("inference.ModelInferRequest")
START = SequenceMark(number=7, starts=True)
GOES_ON = SequenceMark(number=7)


def controlled(datatype: Datatype) -> ModelConfig:
    """Return a model that is told the correlation id."""
    control = SequenceControl(name="CORRID", kind=ControlKind.CORRELATION_ID, datatype=datatype)
    policy = msgspec.structs.replace(SEQUENCES, controls=(control,))
    return msgspec.structs.replace(OPEN, sequences=policy)


ITERATIVE = msgspec.structs.replace(
    OPEN, sequences=msgspec.structs.replace(SEQUENCES, is_iterative=True)
)
BATCHED = msgspec.structs.replace(
    SEQUENCED, signature=msgspec.structs.replace(OPEN.signature, max_batch_size=4)
)


class CoreWorld(World):
    """A world whose requests come as gRPC messages."""

    def __init__(self, place: Place, *, reads_sequences: bool = True) -> None:
        super().__init__(place)
        self.routes = Routes(place.dispatcher, reads_sequences=reads_sequences)
        self.core = ProtoInfer(
            dispatcher=place.dispatcher,
            on_failure=lambda *told: told,
            on_rare=lambda *told: told,
            on_headers=lambda *told: told,
        )
        self.answers: list[object] = []

    def is_taken(self, mark: SequenceMark, *, version: str = "", rows: int = 1) -> bool:
        """Send a request; tell whether the core takes it."""
        message = REQUEST(
            model_name="m",
            model_version=version,
            inputs=[{"name": "X", "datatype": "INT8", "shape": [rows]}],
            raw_input_contents=[b"\0" * rows],
        )
        parameters = message.parameters
        if mark.text:
            parameters["sequence_id"].string_param = mark.text
        elif mark.number:
            parameters["sequence_id"].int64_param = mark.number
        if mark.starts:
            parameters["sequence_start"].bool_param = True
        encoded = message.SerializeToString()
        is_taken = bool(self.core.submit(encoded, self.answers.append))
        self.place.end_turn()
        return is_taken


def serving(place: Place, config: ModelConfig, **options: bool) -> CoreWorld:
    world = CoreWorld(place, **options)
    world.add(1, config=config)
    world.publish(1)
    return world


def test_a_sequence_is_the_cores_from_its_start_to_its_end(place):
    world = serving(place, SEQUENCED)
    assert world.is_taken(START)
    assert world.is_taken(GOES_ON)
    assert world.is_taken(SequenceMark(text="7", starts=True))
    assert world.routes.route("m", "1").has_sequence(7, "")
    assert world.routes.route("m", "1").has_sequence(0, "7")
    assert not world.answers


def test_a_sequence_that_was_not_started_is_refused_by_the_core(place):
    world = serving(place, SEQUENCED)
    assert world.is_taken(GOES_ON)
    ((code, text),) = world.answers
    assert code == ErrorCode.INVALID_ARGUMENT
    assert "sequence 7 to model 'm' must specify the START flag" in text


@pytest.mark.parametrize(
    ("config", "mark", "rows"),
    [
        (SEQUENCED, SequenceMark(starts=True), 1),
        (SEQUENCED, SequenceMark(text="x" * 129, starts=True), 1),
        (BATCHED, START, 2),
        (controlled(Datatype.BYTES), START, 1),
        (controlled(Datatype.UINT64), SequenceMark(text="7", starts=True), 1),
        (ITERATIVE, START, 1),
        (OPEN, START, 1),
    ],
    ids=["no id", "long", "rows", "no text", "no number", "iterative", "stateless"],
)
def test_what_is_wrong_or_rare_is_pythons_to_tell(place, config, mark, rows):
    world = serving(place, config)
    assert not world.is_taken(mark, rows=rows)
    assert not world.routes.route("m", "1").has_sequence(7, "")


def test_where_parameters_are_the_models_own_the_core_does_not_read_them(place):
    world = serving(place, SEQUENCED, reads_sequences=False)
    assert not world.is_taken(START)


@pytest.fixture
def reloaded(place) -> CoreWorld:
    """Sequence 7 goes on in a generation that was replaced."""
    world = serving(place, SEQUENCED)
    assert world.is_taken(START)
    world.add(2)
    world.publish(2, earlier=(1,))
    return world


def test_what_goes_on_elsewhere_is_pythons_to_place(reloaded):
    assert not reloaded.is_taken(GOES_ON)
    assert reloaded.is_taken(START)  # anew, in the new generation
    assert reloaded.is_taken(GOES_ON)


def test_what_begins_while_another_generation_lingers_is_the_cores(reloaded):
    assert reloaded.is_taken(SequenceMark(number=8, starts=True))
    assert reloaded.is_taken(SequenceMark(number=8))


def test_requests_without_a_sequence_are_the_cores_while_an_earlier_generation_has_some(place):
    world = serving(place, SEQUENCED)
    assert world.is_taken(START)
    world.add(2, config=OPEN)
    world.publish(2, earlier=(1,))
    assert world.is_taken(SequenceMark())
    assert not world.is_taken(GOES_ON)


def test_a_second_start_is_told(place, monkeypatch):
    told: list[tuple[str, str]] = []
    monkeypatch.setattr(
        "mpserve.telemetry.log.warning",
        lambda event, **facts: told.append((event, facts["sequence"])),
    )
    world = serving(place, SEQUENCED)
    assert world.is_taken(START)
    assert not told
    assert world.is_taken(START)
    assert told == [("sequence.restarted", "7")]
