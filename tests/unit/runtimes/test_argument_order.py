import pytest

from mpserve.errors import InvalidRequest
from mpserve.runtimes.argument_order import argument_places, output_place


@pytest.mark.parametrize(
    ("names", "arguments", "places"),
    [
        (["INPUT__0", "INPUT__1"], ["x", "y"], [0, 1]),
        (["b__1", "a__0"], ["x", "y"], [1, 0]),
        (["y", "x"], ["x", "y"], [1, 0]),
        (["first", "second"], ["x", "y"], [0, 1]),
        (["x", "INPUT__1"], ["x", "y"], [0, 1]),  # neither convention: the order
        (["a__b", "c"], [], [0, 1]),
        ([], ["x"], []),
    ],
)
def test_inputs_are_arguments_by_number_by_name_or_by_order(names, arguments, places):
    assert argument_places(names, arguments) == places


@pytest.mark.parametrize("names", [["a__0", "b__0"], ["a__1"], ["a__0", "b__2"], ["y"]])
def test_an_argument_that_is_missing_or_given_twice_is_refused(names):
    with pytest.raises(InvalidRequest, match="needs each from 0 on once"):
        argument_places(names, ["x", "y"])


@pytest.mark.parametrize(
    ("name", "names", "place"),
    [
        ("OUTPUT__1", ["OUTPUT__0", "OUTPUT__1"], 1),
        ("b__0", ["a__1", "b__0"], 0),
        ("mask", ["scores", "mask"], 1),
        ("other", ["scores", "mask"], None),
        ("OUTPUT__7", ["OUTPUT__0"], None),
        ("OUTPUT__2", [], 2),
        ("other", [], None),
    ],
)
def test_outputs_are_results_by_number_or_by_order(name, names, place):
    assert output_place(name, names) == place
