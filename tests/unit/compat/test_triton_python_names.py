"""`docs/python-backend.md` against the module: nothing is missing there, and nothing is made up."""

import re
from pathlib import Path

import numpy as np
import pytest

from mpserve.compat import triton_python_backend_utils as pb_utils
from mpserve.compat.triton_place import set_model_dir

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "python-backend.md").read_text()
ROW = re.compile(
    r"^\| `([\w.]+)` \| (supported|differs|refused) \|(.*?)\| `(.*?)` \|$", re.MULTILINE
)
ROWS = [(name, kind, note.strip(), test) for name, kind, note, test in ROW.findall(PAGE)]
OURS = {
    "answers_all",
    "answers_of_rows",
    "is_rescheduled",
    "sent_response",
}  # what mpserve itself asks its objects
OBJECTS = (
    "Tensor",
    "InferenceRequest",
    "InferenceResponse",
    "InferenceResponseSender",
    "ResponseIterator",
    "InferenceTrace",
    "TritonError",
    "Metric",
)
OUR_MEMBERS = {
    "Tensor": {"datatype_name", "parameters_json"},
    "InferenceRequest": {
        "output_parameters_json",
        "likeness",
        "takes_many",
        "has_more_inputs",
        "headers",
        "is_handler_call",
    },
}


def public(owner: object) -> set[str]:
    return {name for name in dir(owner) if not name.startswith("_")}


def test_every_name_of_the_module_is_on_the_page():
    documented = {name for name, *_ in ROWS if "." not in name}
    assert documented == set(pb_utils.__all__) - OURS


@pytest.mark.parametrize("name", OBJECTS)
def test_every_member_is_on_the_page(name):
    documented = {row[0].split(".")[1] for row in ROWS if row[0].startswith(f"{name}.")}
    members = {one for one in public(getattr(pb_utils, name)) if not one.isupper()}
    assert documented == members - OUR_MEMBERS.get(name, set())


@pytest.mark.parametrize(("name", "kind", "note", "test"), ROWS, ids=[row[0] for row in ROWS])
def test_every_row_is_true(name, kind, note, test):
    owner: object = pb_utils
    for part in name.split("."):
        owner = getattr(owner, part)
    assert (kind == "supported") or note, "a difference is told"
    text = "".join((ROOT / "tests" / one).read_text() for one in test.split("`, `"))
    assert name.rsplit(".", maxsplit=1)[-1] in text, f"{test} does not use it"


def test_constants_and_types():
    assert pb_utils.MemoryType.TRITONSERVER_MEMORY_GPU == pb_utils.TRITONSERVER_MEMORY_GPU
    assert pb_utils.TRITON_STRING_TO_NUMPY["TYPE_FP32"] is np.float32


def test_levels_of_the_log_and_where_tensors_lie():
    assert pb_utils.LogLevel.WARNING is pb_utils.Logger.WARNING
    assert pb_utils.Logger.LogLevel is pb_utils.LogLevel
    assert pb_utils.Tensor("T", np.zeros(1, np.float32)).is_cpu()


def test_the_model_directory_is_that_of_the_version():
    set_model_dir("/models/m/3")
    assert pb_utils.get_model_dir() == "/models/m/3"
