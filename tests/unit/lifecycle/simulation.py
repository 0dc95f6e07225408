"""A server without processes: drives the plan and answers it as the test says."""

from mpserve.errors import ErrorCode, Failure
from mpserve.lifecycle.actions import PublishTable, SettleWish, StartInstance
from mpserve.lifecycle.actual import (
    Actual,
    shown_versions,
)
from mpserve.lifecycle.events import (
    FolderChecked,
    InstanceEnded,
    InstanceFailed,
    InstanceReady,
    TableAcknowledged,
)
from mpserve.lifecycle.observation import observe
from mpserve.lifecycle.operation_record import Check
from mpserve.lifecycle.plan import Limits, plan
from mpserve.lifecycle.restart import RestartPolicy
from mpserve.lifecycle.wanted import Wanted, Wish
from mpserve.model.config import InstanceGroup, ModelConfig
from mpserve.model.definition import ConfigFormat, ModelDefinition, VersionDefinition
from mpserve.model.sequence import SequencePolicy

SECOND_NS = 1_000_000_000
DIED = Failure(code=ErrorCode.UNAVAILABLE, message="it died")
REFUSED = Failure(code=ErrorCode.LOAD_FAILED, message="ValueError: bad weights")


SEQUENCES = SequencePolicy(slots=4, idle_us=1_000_000)


def define(
    name="m",
    *,
    versions="1",
    content="x",
    count=1,
    group="g",
    auto_complete=False,
    sequences=None,
):
    """Return a model whose versions all have the content `content`."""
    return ModelDefinition(
        name=name,
        directory=f"/models/{name}",
        format=ConfigFormat.TRITON,
        runtime="python",
        config=ModelConfig(
            instance_groups=(InstanceGroup(name=group, count=count),), sequences=sequences
        ),
        config_json=f'{{"name":"m","instance_group":[{{"count":{count}}}]}}',
        auto_complete=auto_complete,
        versions=tuple(
            VersionDefinition(
                version=version,
                directory=f"/models/{name}/{version}",
                fingerprint=f"{version}:{content}",
            )
            for version in versions
        ),
    )


class Simulation:
    """Wanted, actual, and every action that was issued."""

    def __init__(self, *, limits=None, policy=None):
        self.wanted = Wanted()
        self.actual = Actual()
        self.limits = limits or Limits()
        self.policy = policy or RestartPolicy()
        self.now_ns = 0
        self.actions = []
        self._last_wish = 0

    def wish(self, definition, *, name="m"):
        """Want this; return the number of the wish."""
        name = definition.name if definition is not None else name
        number = self.next_wish()
        self.make(Wish(number=number, name=name, definition=definition))
        return number

    def next_wish(self):
        """Return the number for another wish."""
        self._last_wish += 1
        return self._last_wish

    def make(self, wish):
        """Make a wish."""
        self.wanted = self.wanted.with_wish(wish)
        self.run()

    def stop(self):
        self.wanted = self.wanted.ended()
        self.run()

    def run(self):
        """Plan until there is nothing to do; return what was issued."""
        issued = []
        while actions := plan(self.wanted, self.actual, now_ns=self.now_ns, limits=self.limits):
            for action in actions:
                self.actual = observe(self.actual, action, policy=self.policy)
                if isinstance(action, SettleWish):
                    self.wanted = self.wanted.settled(action.name, action.number)
                issued.append(action)
        self.actions += issued
        return issued

    def tell(self, event):
        self.actual = observe(self.actual, event, policy=self.policy)
        return self.run()

    def note(self, event):
        """Let something happen in the same moment as what comes next."""
        self.actual = observe(self.actual, event, policy=self.policy)

    def pass_time(self, passed_ns):
        self.now_ns += passed_ns
        return self.run()

    # --- what a test may let happen ---------------------------------------------------------------

    def instances(self, *phases, name="m"):
        """Return the keys of all instances in these phases, oldest generation first."""
        model = self.actual.models.get(name)
        generations = model.generations if model is not None else ()
        return [
            each.key for one in generations for each in one.instances if each.phase.value in phases
        ]

    def load(self, key=None, *, name="m"):
        """Let one starting instance load, or all of them."""
        keys = [key] if key is not None else self.instances("starting", name=name)
        for one in keys:
            self.tell(InstanceReady(instance=one, config=ModelConfig(), config_json="{}"))

    def refuse(self, key):
        """Let the model refuse to load; its worker ends."""
        self.tell(InstanceFailed(instance=key, failure=REFUSED))
        self.end(key)

    def end(self, key):
        """Let the process of an instance be gone."""
        self.tell(InstanceEnded(instance=key, failure=DIED, at_ns=self.now_ns))

    def end_stopping(self, *, name="m"):
        """Let all workers that were asked to end be gone."""
        for key in self.instances("stopping", name=name):
            self.end(key)

    def look_at_folder(self, name="m"):
        """Let the folder of a polled load be as it was, if it is looked at."""
        operation = self.actual.models[name].operation
        if operation is not None and operation.check is Check.RUNNING:
            self.tell(FolderChecked(name=name, wish=operation.wish, is_unchanged=True))

    def acknowledge(self):
        """Let all frontends know the latest table."""
        self.tell(TableAcknowledged(number=self.actual.table_number))

    def serve(self, definition):
        """Wish for a model and let everything go well."""
        number = self.wish(definition)
        while self.instances("starting", name=definition.name):
            self.load(name=definition.name)
        self.acknowledge()
        self.end_stopping(name=definition.name)
        self.acknowledge()
        return number

    # --- what a test may ask ----------------------------------------------------------------------

    def answer(self, number):
        """Return the list of answers to a wish."""
        return [
            action.failure
            for action in self.actions
            if isinstance(action, SettleWish) and action.number == number
        ]

    def shown(self, *, name="m"):
        """Return version -> (state, reason)."""
        model = self.actual.models[name]
        return {one.version: (one.state.value, one.reason) for one in shown_versions(model)}

    def issued(self, kind):
        return [action for action in self.actions if isinstance(action, kind)]

    def started(self, *, name="m"):
        """Return (version, generation, index) of every worker that was ever started."""
        return [
            (key.version, key.generation, key.index)
            for action in self.issued(StartInstance)
            if (key := action.instance).name == name
        ]

    def published(self):
        return [action.number for action in self.issued(PublishTable)]
