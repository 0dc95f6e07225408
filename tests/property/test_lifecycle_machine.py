"""The lifecycle under any order of events, in a simulated world (`lifecycle_world`).

Some of the models are ensembles of others; requests of them may hold generations for a while.
In some of them sequences begin while they serve, and go on in the generation where they began.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from mpserve.lifecycle.actual import earlier_generations, shown_versions
from mpserve.lifecycle.events import (
    FolderChecked,
    GenerationRefused,
    GenerationsHeld,
    InstanceEnded,
    InstanceFailed,
    InstanceReady,
    LoadRefused,
    SequencesEnded,
    TableAcknowledged,
)
from mpserve.lifecycle.graph import judge, used_models
from mpserve.lifecycle.plan import next_moment_ns
from mpserve.lifecycle.reasons import UNLOADED
from mpserve.lifecycle.transitions import Phase
from mpserve.lifecycle.wanted import Wish
from mpserve.model.config import ModelConfig
from mpserve.model.event import Origin
from mpserve.model.state import ModelState
from tests.property.lifecycle_definitions import (
    ENSEMBLES,
    NAMES,
    define,
    define_ensemble,
    definitions,
)
from tests.property.lifecycle_world import DEATH, LIMITS, REFUSAL, LifecycleWorld


class LifecycleMachine(LifecycleWorld):
    # --- what may happen --------------------------------------------------------------------------

    @rule(name=st.sampled_from(NAMES), wanted=definitions | st.none(), is_polled=st.booleans())
    def make_a_wish(self, name, wanted, is_polled):
        self.last_wish += 1
        definition = None
        origin = Origin.POLL if is_polled else Origin.CLIENT
        if wanted is not None:
            contents, others = wanted
            definition = define(name, contents, **others)
        self.wanted = self.wanted.with_wish(
            Wish(number=self.last_wish, name=name, definition=definition, origin=origin)
        )
        self.run_plan()

    @rule(
        name=st.sampled_from(ENSEMBLES),
        members=st.lists(st.sampled_from(NAMES + ENSEMBLES), min_size=1, max_size=3) | st.none(),
    )
    def make_a_wish_for_an_ensemble(self, name, members):
        self.last_wish += 1
        definition = define_ensemble(name, members) if members is not None else None
        self.wanted = self.wanted.with_wish(
            Wish(number=self.last_wish, name=name, definition=definition)
        )
        self.run_plan()

    @rule(name=st.sampled_from(NAMES), versions=st.sets(st.sampled_from(("1", "2")), min_size=1))
    def rule_a_load_out(self, name, versions):
        self.tell(LoadRefused(name=name, versions=tuple(sorted(versions)), failure=REFUSAL))
        self.run_plan()

    @precondition(lambda self: self.named() or self.held)
    @rule(data=st.data())
    def hold_generations(self, data):
        candidates = sorted(self.named() | self.held)
        self.hold(data.draw(st.frozensets(st.sampled_from(candidates), max_size=3)))

    def hold(self, generations):
        self.held = generations
        self.tell(GenerationsHeld(generations=generations))
        self.run_plan()

    def sequenced(self):
        """Generations in which a request of some frontend may begin a sequence."""
        named = set().union(*(self.tables[one] for one in self.tables if one >= self.acknowledged))
        return {
            one.generation
            for model in self.actual.models.values()
            for one in model.generations
            if one.generation in named and one.config.sequences is not None
        }

    @precondition(lambda self: self.sequenced())
    @rule(data=st.data())
    def begin_a_sequence(self, data):
        self.live.add(data.draw(st.sampled_from(sorted(self.sequenced()))))

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def end_sequences(self, data):
        self.live.remove(data.draw(st.sampled_from(sorted(self.live))))

    @precondition(lambda self: self.lingering)
    @rule()
    def look_for_sequences(self):
        self.look_at_lingering()
        self.run_plan()

    def look_at_lingering(self):
        for generation in [one for one in self.lingering if one not in self.live]:
            name = self.lingering.pop(generation)
            self.tell(SequencesEnded(name=name, generation=generation))

    @precondition(lambda self: self.instances("starting"))
    @rule(data=st.data())
    def load(self, data):
        self.be_ready(data.draw(st.sampled_from(self.instances("starting"))))
        self.run_plan()

    def be_ready(self, key):
        record = self.actual.models[key.name].generation(key.generation)
        config = ModelConfig(sequences=record.definition.config.sequences)
        self.tell(InstanceReady(instance=key, config=config, config_json="{}"))

    @precondition(lambda self: self.instances("starting"))
    @rule(data=st.data())
    def refuse_to_load(self, data):
        key = data.draw(st.sampled_from(self.instances("starting")))
        self.tell(InstanceFailed(instance=key, failure=REFUSAL))
        self.processes[key] = "ending"
        self.run_plan()

    @precondition(lambda self: self.processes)
    @rule(data=st.data())
    def end_a_process(self, data):
        self.end(data.draw(st.sampled_from(sorted(self.processes))))
        self.run_plan()

    def end(self, key):
        del self.processes[key]
        self.tell(InstanceEnded(instance=key, failure=DEATH, at_ns=self.now_ns))

    def loading(self):
        return {
            one.generation: one.name
            for model in self.actual.models.values()
            for one in model.generations
            if one.phase is Phase.LOADING
        }

    @precondition(lambda self: self.loading())
    @rule(data=st.data())
    def have_no_room_for_a_queue(self, data):
        number = data.draw(st.sampled_from(sorted(self.loading())))
        name = self.loading()[number]
        self.tell(GenerationRefused(name=name, generation=number, failure=REFUSAL))
        self.run_plan()

    @precondition(lambda self: self.acknowledged < max(self.tables))
    @rule(data=st.data())
    def acknowledge(self, data):
        self.acknowledged = data.draw(st.integers(self.acknowledged + 1, max(self.tables)))
        self.tell(TableAcknowledged(number=self.acknowledged))
        self.run_plan()

    def open_checks(self):
        return [key for key, answer in self.checks.items() if answer is None]

    @precondition(lambda self: self.open_checks())
    @rule(is_unchanged=st.booleans())
    def look_at_a_folder(self, is_unchanged):
        self.answer_check(self.open_checks()[0], is_unchanged=is_unchanged)
        self.run_plan()

    def answer_check(self, key, *, is_unchanged):
        self.checks[key] = is_unchanged
        name, wish = key
        self.tell(FolderChecked(name=name, wish=wish, is_unchanged=is_unchanged))

    @rule(passed_ns=st.integers(1, 2_000))
    def let_time_pass(self, passed_ns):
        self.now_ns += passed_ns
        self.run_plan()

    # --- what must hold ---------------------------------------------------------------------------

    @invariant()
    def a_queue_that_a_frontend_may_use_is_open(self):
        for number, generations in self.tables.items():
            if number >= self.acknowledged:
                assert generations <= self.open_queues - self.retired_queues

    @invariant()
    def who_goes_on_with_a_sequence_finds_it(self):
        for model in self.actual.models.values():
            for one in earlier_generations(model):
                assert one.generation in self.open_queues - self.retired_queues

    @invariant()
    def it_is_known_which_models_are_not_ready(self):
        assert self.actual.unready == {
            name
            for name, model in self.actual.models.items()
            for one in shown_versions(model)
            if one.state is not ModelState.READY and one.reason != UNLOADED
        }

    @invariant()
    def a_wish_is_looked_at_until_it_is_settled(self):
        settled = {name: model.settled for name, model in self.actual.models.items()}
        for name, wish in self.wanted.wishes.items():
            assert (name in self.wanted.open) == (wish.number > settled.get(name, 0))

    @invariant()
    def one_generation_serves_a_version(self):
        for model in self.actual.models.values():
            versions = [
                one.version.version for one in model.generations if one.phase is Phase.SERVING
            ]
            assert len(versions) == len(set(versions))

    @invariant()
    def only_so_many_versions_load_at_once(self):
        assert len(self.loading()) <= LIMITS.loading_versions

    @invariant()
    def what_was_loaded_serves_until_it_is_replaced_or_its_workers_are_given_up(self):
        for name, model in self.actual.models.items():
            if model.definition is None:
                continue
            shown = {one.version: one for one in shown_versions(model)}
            for version in model.definition.versions:
                state = shown[version.version].state
                assert state is ModelState.READY or (name, version.version) in self.lost

    @invariant()
    def an_ensemble_that_serves_has_all_its_models(self):
        for model in self.actual.models.values():
            for one in model.generations:
                if one.phase is Phase.SERVING and one.is_ensemble:
                    for member in used_models(one.definition):
                        generations = self.actual.models[member].generations
                        assert any(each.phase is Phase.SERVING for each in generations)

    @invariant()
    def a_failed_wish_has_left_what_served_before(self):
        for (name, number), failure in self.answers.items():
            model = self.actual.models[name]
            if failure is not None and model.settled == number and model.operation is None:
                # Whatever serves was made for an earlier wish.
                for one in model.generations:
                    assert one.phase is not Phase.SERVING or one.wish < number

    @invariant()
    def the_plan_knows_when_to_be_asked_again(self):
        moment_ns = next_moment_ns(self.wanted, self.actual)
        assert moment_ns is None or moment_ns > self.now_ns

    @invariant()
    def nobody_ends_for_ever(self):
        """Who was asked to end, or has failed, is killed when its time is over.

        One that is withdrawn waits for the frontends first.
        """
        for model in self.actual.models.values():
            for one in model.generations:
                for each in one.instances if one.phase is not Phase.WITHDRAWN else ():
                    if self.processes.get(each.key) == "ending" and each.deadline_ns:
                        assert each.deadline_ns > self.now_ns

    def teardown(self):
        """Let all go well from now on: what is wanted comes true, and nothing else is left."""
        self.hold(frozenset())
        self.live.clear()
        for _ in range(300):
            self.run_plan()
            self.look_at_lingering()
            for key in self.instances("starting"):
                self.be_ready(key)
            for key in self.open_checks():
                self.answer_check(key, is_unchanged=True)
            for key in [key for key, fate in self.processes.items() if fate != "running"]:
                self.end(key)
            self.acknowledged = max(self.tables)
            self.tell(TableAcknowledged(number=self.acknowledged))
            self.now_ns += 50
        for name, wish in self.wanted.wishes.items():
            self.check_came_true(name, wish)
            self.check_is_at_rest(name)
            if name in ENSEMBLES and wish.definition is not None:
                self.check_ensemble(name, wish.definition)
        assert self.open_queues == self.named()

    def check_came_true(self, name, wish):
        model = self.actual.models[name]
        assert model.settled == wish.number
        if self.answers[name, wish.number] is not None:
            return
        lost = {version for lost_name, version in self.lost if lost_name == name}
        served = {one.version.version: one.version.fingerprint for one in model.generations}
        versions = wish.definition.versions if wish.definition is not None else ()
        assert served == {
            one.version: one.fingerprint for one in versions if one.version not in lost
        }

    def check_is_at_rest(self, name):
        """Every generation serves with as many instances as its definition says."""
        model = self.actual.models[name]
        assert model.operation is None
        for one in model.generations:
            assert one.phase is Phase.SERVING
            if one.is_ensemble:
                assert one.instances == ()
                continue
            alive = [each for each in one.instances if each.key in self.processes]
            given_up = [each for each in one.instances if each.phase.value == "given_up"]
            count = one.definition.config.instance_groups[0].count
            assert len(alive) + len(given_up) == len(one.instances) == count

    def check_ensemble(self, name, definition):
        """It serves as wanted exactly when its models let it."""
        model = self.actual.models[name]
        fault = judge(name, definition.config, wanted=self.wanted, actual=self.actual)
        is_served = model.definition == definition and model.serving("1") is not None
        assert is_served == (fault is None)


LifecycleMachine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None
)
TestLifecycleMachine = LifecycleMachine.TestCase
