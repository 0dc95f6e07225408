"""Costs of large tensors in shared memory, as a table."""

from bench.measuring.regions import COPY, Cost, Memory, table


def test_ratios_are_those_to_a_plain_copy():
    costs = (
        Cost(way=COPY, seconds=(0.002, 0.004, 0.003)),
        Cost(way="x, HTTP", seconds=(0.006, 0.003, 0.003)),
    )
    assert list(table(costs))[2:] == [
        "| plain copy | 2.00 | 1.00 | 3.00 | 1.00 |",
        "| x, HTTP | 3.00 | 1.50 | 3.00 | 1.00 |",
    ]


def test_a_copy_goes_from_one_region_to_the_other():
    with Memory(4096) as memory:
        memory.copy()
        assert memory.answered.tolist() == list(range(1024))
