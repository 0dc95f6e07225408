"""Threads of numerical libraries, as the spawner tells them."""

import numpy as np
import pytest
import threadpoolctl

from mpserve.supervisor.library_threads import NO_REPORTS, VARIABLES, LibraryThreads


@pytest.fixture
def threads_of_numpy():
    """Return a function that tells the threads of NumPy's library; they are put back after it."""

    def told() -> set[int]:
        np.ones((2, 2)) @ np.ones((2, 2))
        return {pool["num_threads"] for pool in threadpoolctl.threadpool_info()}

    with threadpoolctl.threadpool_limits(1):
        yield told


def test_libraries_are_loaded_with_one_thread():
    environ: dict[str, str] = {}
    LibraryThreads(environ).begin()
    assert environ == dict.fromkeys((*VARIABLES, NO_REPORTS), "1")


def test_reports_that_the_operator_wants_are_sent():
    environ = {NO_REPORTS: "0"}
    LibraryThreads(environ).begin()
    assert environ[NO_REPORTS] == "0"


def test_a_number_is_for_loaded_libraries_and_for_those_of_the_children(threads_of_numpy):
    environ: dict[str, str] = {}
    threads = LibraryThreads(environ)
    threads.begin()
    threads.set(3)
    assert {name: environ[name] for name in VARIABLES} == dict.fromkeys(VARIABLES, "3")
    assert threads_of_numpy() == {3}


def test_an_equal_number_looks_at_no_library(threads_of_numpy):
    threads = LibraryThreads({})
    threads.set(2)
    threadpoolctl.threadpool_limits(5)
    threads.set(2)
    assert threads_of_numpy() == {5}


@pytest.mark.parametrize("variable", VARIABLES)
def test_what_the_operator_has_set_holds(threads_of_numpy, variable):
    environ = {variable: "7"}
    threads = LibraryThreads(environ)
    threads.begin()
    threads.set(3)
    assert environ == {NO_REPORTS: "1", variable: "7"}
    assert threads_of_numpy() == {1}
