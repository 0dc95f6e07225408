"""The runtime that `docs/runtimes.md` shows is one."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from mpserve.runtimes import registry

from .conformance import RuntimeConformance
from .plain import PlainRequest, PlainResponses, outputs, tensor, triton_context

PAGE = Path(__file__).parents[3] / "docs" / "runtimes.md"
(CODE,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)


@pytest.fixture(scope="module")
def documented():
    names: dict[str, object] = {}
    exec(CODE, names)
    return names["ScaleRuntime"]


class TestConformance(RuntimeConformance):
    registered_name = "scale"

    @pytest.fixture(autouse=True)
    def registered(self, documented, monkeypatch):
        monkeypatch.setattr(registry, "_imported", lambda *_: documented)
        monkeypatch.setitem(registry.BUILT_IN, "scale", "documented")

    @pytest.fixture
    def runtime(self, documented):
        return documented(PlainResponses())

    @pytest.fixture
    def context(self, tmp_path):
        (tmp_path / "1").mkdir(exist_ok=True)
        (tmp_path / "1" / "scale.json").write_text(json.dumps({"factor": 3}))
        return triton_context(tmp_path)

    @pytest.fixture
    def broken_context(self, tmp_path):
        return triton_context(tmp_path / "nowhere")

    @pytest.fixture
    def good_request(self):
        return PlainRequest(tensor("x", np.array([1.0, 2.0])))

    @pytest.fixture
    def bad_request(self):
        return PlainRequest()

    def test_it_scales(self, loaded, good_request):
        (response,) = loaded.execute([good_request])
        assert outputs(response)["scaled"].tolist() == [3.0, 6.0]


def test_it_is_shorter_than_forty_lines():
    assert len(CODE.splitlines()) < 40
