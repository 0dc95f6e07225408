"""A plain model of queues, processes and tables, in which the lifecycle's plans are carried out.

A process lives from `StartInstance` until somebody lets it end, a queue from `AdmitGeneration` to
`RemoveGeneration`, a table is in use until it is acknowledged. Each action is held against it.
"""

from hypothesis.stateful import RuleBasedStateMachine

from mpserve.errors import ErrorCode, Failure
from mpserve.lifecycle.actions import (
    AdmitGeneration,
    CheckFolder,
    CommitOperation,
    KillInstance,
    LingerGeneration,
    PublishTable,
    RemoveGeneration,
    RetireGeneration,
    SettleWish,
    StartInstance,
    StopInstance,
    WithdrawEnsemble,
    WithdrawGeneration,
)
from mpserve.lifecycle.actual import Actual, shown_versions
from mpserve.lifecycle.observation import observe
from mpserve.lifecycle.plan import Limits, plan
from mpserve.lifecycle.restart import RestartPolicy
from mpserve.lifecycle.transitions import Phase
from mpserve.lifecycle.wanted import Wanted

LIMITS = Limits(loading_versions=2, retries=1, load_timeout_ns=1_000, drain_timeout_ns=1_500)
POLICY = RestartPolicy(max_deaths=3, window_ns=10_000, first_delay_ns=100, max_delay_ns=400)
DEATH = Failure(code=ErrorCode.UNAVAILABLE, message="died")
REFUSAL = Failure(code=ErrorCode.LOAD_FAILED, message="ValueError: no")
MOST_PLANS = 100


class LifecycleWorld(RuleBasedStateMachine):
    """What is outside of the plan, and the loop that carries the plan out in it."""

    def __init__(self):
        super().__init__()
        self.wanted = Wanted()
        self.actual = Actual()
        self.now_ns = 0
        self.last_wish = 0
        self.open_queues = set()
        self.retired_queues = set()
        self.processes = {}  # instance key -> "running" or "ending"
        self.tables = {0: frozenset()}  # number -> generations that it names
        self.acknowledged = 0
        self.settled = {}  # name -> numbers, in order
        self.answers = {}  # (name, number) -> failure
        self.checks = {}  # (name, wish) -> is the folder unchanged? None while it is looked at
        self.held = frozenset()  # generations that requests of ensembles use
        self.live = set()  # generations in which sequences go on
        self.lingering = {}  # generation -> name, of those that are looked at for their end
        self.lost = set()  # (name, version) given up since the last wish that came true

    def tell(self, event):
        self.actual = observe(self.actual, event, policy=POLICY)

    def run_plan(self):
        for _ in range(MOST_PLANS):
            actions = plan(self.wanted, self.actual, now_ns=self.now_ns, limits=LIMITS)
            if not actions:
                return
            for action in actions:
                self.actual = observe(self.actual, action, policy=POLICY)
            for action in actions:
                self.carry_out(action)
        raise AssertionError("the plan does not come to an end")

    def carry_out(self, action):
        match action:
            case AdmitGeneration():
                assert action.generation not in self.open_queues
                self.open_queues.add(action.generation)
            case LingerGeneration():
                self.lingering[action.generation] = action.name
            case RetireGeneration():
                assert not (action.generation in self.held and self.answers_come(action.generation))
                assert not self.cuts_sequences_off(action)
                self.lingering.pop(action.generation, None)
                self.retired_queues.add(action.generation)
            case RemoveGeneration():
                assert not self.processes_of(action.generation)
                self.open_queues.discard(action.generation)
            case StartInstance():
                key = action.instance
                assert key not in self.processes, "two processes for one instance"
                assert key.generation in self.open_queues
                self.processes[key] = "running"
            case StopInstance() | KillInstance():
                fate = "ending" if isinstance(action, StopInstance) else "killed"
                assert self.processes[action.instance] in {"running", "ending"} - {fate}
                self.processes[action.instance] = fate
            case PublishTable():
                assert action.number == max(self.tables) + 1
                before = self.tables[action.number - 1]
                self.tables[action.number] = self.named()
                self.live.update(self.sequenced() - before)  # somebody begins one at once
            case _:
                self.note(action)

    def note(self, action):
        match action:
            case SettleWish():
                numbers = self.settled.setdefault(action.name, [0])
                assert action.number >= numbers[-1]
                numbers.append(action.number)
                self.wanted = self.wanted.settled(action.name, action.number)
                self.answers[action.name, action.number] = action.failure
                if action.failure is None:
                    self.lost = {row for row in self.lost if row[0] != action.name}
            case CheckFolder():
                assert (action.name, action.wish) not in self.checks, "one look is enough"
                self.checks[action.name, action.wish] = None
            case CommitOperation():
                wish = self.actual.models[action.name].operation.wish
                assert self.checks.get((action.name, wish), True), "its files were changed"
            case WithdrawGeneration() | WithdrawEnsemble():
                record = self.actual.models[action.name].generation(action.generation)
                self.lost.add((action.name, record.version.version))

    def cuts_sequences_off(self, action):
        """Sequences that could go on until a deadline are cut off by nothing but an unload."""
        model = self.actual.models[action.name]
        record = model.generation(action.generation)
        is_served = any(one.phase is Phase.SERVING for one in model.generations)
        return (
            action.generation in self.live
            and self.answers_come(action.generation)
            and is_served
            and record.failure is None
            and not (record.linger_until_ns and self.now_ns >= record.linger_until_ns)
        )

    def answers_come(self, generation):
        return any(key.generation == generation for key in self.instances("ready"))

    def processes_of(self, generation):
        return [key for key in self.processes if key.generation == generation]

    def named(self):
        return frozenset(
            one.generation
            for model in self.actual.models.values()
            for one in shown_versions(model)
            if one.generation is not None
        )

    def instances(self, phase_value):
        return sorted(
            each.key
            for model in self.actual.models.values()
            for one in model.generations
            for each in one.instances
            if each.phase.value == phase_value and each.key in self.processes
        )
