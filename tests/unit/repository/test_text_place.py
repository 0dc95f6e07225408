"""The line that a message is about."""

import pytest

from mpserve.repository.text_place import line_of

PBTXT = """name: "a"
max_batch_size: -1
input [ { name: "INPUT0" } ]
"""
JSON = """{
  "implementation": "m.M",
  "inputs": [
    {"name": "x", "datatype": "FP33"}
  ],
  "parameters": {
    "uri": 3
  }
}
"""


@pytest.mark.parametrize(
    ("reason", "text", "line"),
    [
        pytest.param("no field (/m/a/config.pbtxt:3:9)", PBTXT, 3, id="a parser's position"),
        pytest.param("'max_batch_size' must be non-negative for a", PBTXT, 2, id="a field"),
        pytest.param("input 'INPUT0' of 'a' has no dims", PBTXT, 3, id="a tensor"),
        pytest.param("nothing quoted", PBTXT, None, id="nothing to look for"),
        pytest.param("'max_batch' is wrong", PBTXT, None, id="a part of a word is no find"),
        pytest.param("JSON is malformed (byte 30)", JSON, 3, id="a byte"),
        pytest.param("Expected `str` - at `$.parameters.uri`", JSON, 7, id="a member's path"),
        pytest.param("bad - at `$.inputs[...].datatype`", JSON, 3, id="somewhere in a list"),
        pytest.param("missing field `name` - at `$.nowhere`", JSON, None, id="no such member"),
    ],
)
def test_a_message_leads_to_its_line(reason, text, line):
    assert line_of(reason, text=text) == line
