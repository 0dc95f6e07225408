"""A scan that reuses the last one sees what a fresh scan sees, and changes are taken when still."""

import os
import shutil
import tempfile
from pathlib import Path

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mpserve.repository import Listing, ScanOptions, list_models, scan, settle
from tests.fixtures.pace import full_or

SETTLE_NS = 10
NAMES = st.sampled_from(["a", "b", "c"])
ROOTS = st.sampled_from(["r1", "r2"])
CONFIGS = st.sampled_from(
    ["", "max_batch_size: 2", "version_policy { all {} }", "nonsense", "# a comment"]
)
SETTINGS = '{"implementation": "x.Y", "parameters": {"version": "%s"}}'


def nothing_to_reuse(before):
    """Return a result whose folders are all read again, and only names are remembered: those of
    models whose settings have become unreadable.
    """
    folders = {
        path: msgspec.structs.replace(
            folder, snapshot=msgspec.structs.replace(folder.snapshot, files=())
        )
        for path, folder in before.folders.items()
    }
    return msgspec.structs.replace(before, folders=folders)


class Repositories(RuleBasedStateMachine):
    """Two roots that change; `before` is what each scan is given, `taken` what is wanted."""

    def __init__(self) -> None:
        super().__init__()
        self.base = Path(tempfile.mkdtemp())
        self.roots = [str(self.base / name) for name in ("r1", "r2")]
        self.options = ScanOptions()
        self.sightings = {}
        self.listed = Listing(names=(), duplicates=frozenset())
        self.now_ns = 0
        self.seen_since = {}
        self.mtime_ns = 0

    @initialize()
    def make_roots(self):
        for root in self.roots:
            Path(root).mkdir()
        self.before = self.taken = scan(self.roots, None, self.options)

    def teardown(self):
        shutil.rmtree(self.base)

    def put(self, path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self.mtime_ns += 1_000_000_000  # each write has a time of its own, as on a real disk
        os.utime(path, ns=(self.mtime_ns, self.mtime_ns))

    @rule(root=ROOTS, name=NAMES, version=st.integers(0, 3), text=st.sampled_from(["", "x"]))
    def write_model(self, root, name, version, text):
        self.put(self.base / root / name / str(version) / "model.py", text)

    @rule(root=ROOTS, name=NAMES, text=CONFIGS)
    def write_config(self, root, name, text):
        self.put(self.base / root / name / "config.pbtxt", text)

    @rule(root=ROOTS, name=NAMES, version=st.sampled_from(["v1", "v2"]))
    def write_settings(self, root, name, version):
        self.put(self.base / root / name / "sub" / "model-settings.json", SETTINGS % version)

    @rule(root=ROOTS, name=NAMES)
    def write_settings_that_can_not_be_read(self, root, name):
        self.put(self.base / root / name / "sub" / "model-settings.json", "{")

    @rule(root=ROOTS, name=NAMES)
    def remove_model(self, root, name):
        shutil.rmtree(self.base / root / name, ignore_errors=True)

    @rule(name=NAMES)
    def move_model(self, name):
        source, target = self.base / "r1" / name, self.base / "r2" / name
        if source.exists() and not target.exists():
            source.rename(target)

    @rule(name=NAMES)
    def leave_swap_files(self, name):
        if (self.base / "r1" / name).exists():
            self.put(self.base / "r1" / name / ".config.pbtxt.swp", "x")

    @rule(passed_ns=st.integers(0, 2 * SETTLE_NS))
    def scan_again(self, passed_ns):
        self.now_ns += passed_ns
        current = scan(self.roots, self.before, self.options)
        assert current == scan(self.roots, nothing_to_reuse(self.before), self.options)
        self.listed = list_models(self.roots, self.listed.folders, self.options)
        assert self.listed.names == current.names
        assert self.listed.duplicates == set(current.duplicates)
        for name in {*self.taken.names, *current.names, *self.seen_since}:
            token = current.tokens.get(name)
            if self.seen_since.get(name, ("", 0))[0] != token:
                self.seen_since[name] = (token, self.now_ns)
        settled = settle(
            taken=self.taken,
            current=current,
            sightings=self.sightings,
            now_ns=self.now_ns,
            settle_ns=SETTLE_NS,
        )
        for name in {*self.taken.names, *current.names}:
            token, since_ns = self.seen_since[name]
            taken = settled.result.tokens.get(name)
            if self.now_ns - since_ns >= SETTLE_NS:
                assert taken == token
            else:
                assert taken in (token, self.taken.tokens.get(name))
                if token != self.taken.tokens.get(name):
                    assert taken != token
        self.before, self.taken, self.sightings = current, settled.result, settled.sightings

    @invariant()
    def each_name_is_in_one_table(self):
        if not hasattr(self, "taken"):
            return
        tables = [self.taken.definitions, self.taken.broken, self.taken.duplicates]
        assert sorted(name for table in tables for name in table) == list(self.taken.names)
        assert set(self.taken.tokens) == set(self.taken.names)


TestRepositories = Repositories.TestCase
# Each example is fifty steps on a disk.
TestRepositories.settings = settings(
    max_examples=settings.default.max_examples // int(full_or(4, 8))
)
