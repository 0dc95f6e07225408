"""Classes instead of values."""

import numpy as np
import pytest

from mpserve.codec.classification import MAX_CLASSES, classify
from mpserve.errors import InvalidRequest
from mpserve.model.tensor import Datatype


def classes(values: list, word: str = "FP32", *, count: int = 2, batches: bool = False, **more):
    array = np.array(values, {"FP32": "<f4", "INT32": "<i4", "UINT64": "<u8"}[word])
    return classify(
        array.tobytes(),
        datatype=Datatype[word],
        shape=array.shape,
        batches=batches,
        classes=count,
        **more,
    )


def test_the_best_come_first_and_of_equals_the_first():
    assert classes([1, 5, 5, 7], count=3).elements == (
        b"7.000000:3", b"5.000000:1", b"5.000000:2"
    )  # fmt: skip


def test_each_row_of_a_batch_is_classified_by_itself():
    found = classes([[1, 2], [4, 3]], count=1, batches=True)
    assert (found.shape, found.elements) == ((2, 1), (b"2.000000:1", b"4.000000:0"))


def test_without_a_batch_all_elements_are_one_row():
    found = classes([[1, 2], [4, 3]], count=9)
    assert (found.shape, found.elements[0]) == ((4,), b"4.000000:2")


def test_labels_are_added_where_there_are_some():
    assert classes([1, 2], labels=("a",)).elements == (b"2.000000:1", b"1.000000:0:a")


@pytest.mark.parametrize(
    ("word", "values", "first"),
    [("INT32", [-5, -7], b"-5:0"), ("UINT64", [1, 2**64 - 1], b"18446744073709551615:1")],
)
def test_integers_are_printed_as_integers(word, values, first):
    assert classes(values, word).elements[0] == first


@pytest.mark.parametrize("word", ["BOOL", "FP16", "BF16", "BYTES"])
def test_types_without_an_order_are_refused(word):
    with pytest.raises(InvalidRequest, match=f"unsupported type '{word}'"):
        classify(b"", datatype=Datatype[word], shape=(0,), batches=False, classes=1)


def test_too_many_elements_are_refused():
    with pytest.raises(InvalidRequest, match="at most 1000000"):
        classes([0] * (MAX_CLASSES + 1))
