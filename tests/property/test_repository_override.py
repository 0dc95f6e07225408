"""No file parameter of a load call ever reaches beyond its own directory."""

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from mpserve.errors import InvalidRequest, RepositoryError
from mpserve.repository.found import Override
from mpserve.repository.override import discard, materialise

PARTS = st.sampled_from(["..", ".", "", "1", "a", "model.py", "/", "~", "\\..", "a b", "ä"])
PATHS = st.lists(PARTS, max_size=6).map("/".join) | st.text(max_size=12)


@given(st.dictionaries(PATHS, st.binary(max_size=3), min_size=1, max_size=4))
def test_files_are_written_inside_or_not_at_all(files):
    with tempfile.TemporaryDirectory() as base:
        parent = Path(base, "parent")
        parent.mkdir()
        try:
            directory = Path(materialise(Override(config="{}", files=files), parent=str(parent)))
        except (InvalidRequest, RepositoryError):
            assert list(Path(base).rglob("*")) == [parent]
            return
        written = sorted(path.read_bytes() for path in Path(base).rglob("*") if path.is_file())
        assert written == sorted(files.values())
        assert all(path.is_relative_to(directory) for path in parent.rglob("*"))
        discard(str(directory))
        assert list(Path(base).rglob("*")) == [parent]
