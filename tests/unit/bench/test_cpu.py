"""CPU of a process tree: parsed, subtracted, and compared with what its processes count."""

import json
import os
import subprocess
import sys

import pytest

from bench.measuring import cpu
from bench.measuring.cpu import (
    ENDED,
    OTHER,
    ProcessEntry,
    ProcessReading,
    RolePattern,
    TreeReading,
    members,
    parse_stat,
    read_tree,
    read_tree_before,
    role_of,
    usage_between,
)

STAT = (
    "4242 (odd) name (x) S 17 4242 4200 0 -1 4194560 100 0 0 0 12 34 5 6 20 0 3 0 987654 1000 200 "
    "18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0"
)


def reading(pid, *, cpu_ns=0, reaped_cpu_ns=0, role="worker", started_ticks=1, **others):
    values = {"threads": 1, "voluntary_switches": 0, "involuntary_switches": 0, "pss_bytes": 0}
    return ProcessReading(
        pid=pid,
        started_ticks=started_ticks,
        role=role,
        cpu_ns=cpu_ns,
        reaped_cpu_ns=reaped_cpu_ns,
        **{**values, **others},
    )


def tree(*processes, at_ns=0):
    return TreeReading(at_ns=at_ns, processes=processes)


def entry(pid, parent_pid, session_id):
    return ProcessEntry(
        pid=pid,
        name="x",
        parent_pid=parent_pid,
        session_id=session_id,
        started_ticks=0,
        is_zombie=False,
        threads=1,
        own_ticks=0,
        reaped_ticks=0,
    )


def test_a_command_name_with_spaces_and_parentheses_does_not_shift_the_fields():
    parsed = parse_stat(STAT)

    assert (parsed.pid, parsed.parent_pid, parsed.session_id) == (4242, 17, 4200)
    assert parsed.name == "odd) name (x"
    assert (parsed.own_ticks, parsed.reaped_ticks) == (12 + 34, 5 + 6)
    assert (parsed.threads, parsed.started_ticks, parsed.is_zombie) == (3, 987654, False)


def test_a_process_whose_first_thread_has_ended_is_no_zombie_while_others_run():
    assert not parse_stat(STAT.replace(" S ", " Z ")).is_zombie
    assert parse_stat(STAT.replace(" S ", " Z ").replace(" 0 3 0 ", " 0 1 0 ")).is_zombie


@pytest.mark.parametrize("line", ["", "1 (x) S 0 0", "1 x S 0 0 0"])
def test_what_is_no_stat_line_is_refused(line):
    with pytest.raises(ValueError, match="not a line of"):
        parse_stat(line)


def test_the_tree_holds_descendants_in_other_sessions_and_orphans_of_its_own():
    table = [
        entry(1, 0, 1),
        entry(10, 1, 10),  # root
        entry(11, 10, 10),
        entry(12, 11, 12),  # made a session of its own
        entry(13, 1, 10),  # its parent died
        entry(14, 13, 14),  # child of the orphan
        entry(20, 1, 20),
    ]

    assert [found.pid for found in members(table, root_pid=10)] == [10, 11, 12, 13, 14]


def test_a_process_that_runs_throughout_counts_its_difference():
    used = usage_between(tree(reading(1, cpu_ns=100)), tree(reading(1, cpu_ns=350), at_ns=1000))

    assert used.cpu_ns == 250
    assert used.cpu_ns_by_role == {"worker": 250}
    assert used.elapsed_ns == 1000


def test_a_process_born_in_the_window_counts_whole():
    used = usage_between(tree(reading(1)), tree(reading(1), reading(2, cpu_ns=70, role="new")))

    assert used.cpu_ns_by_role == {"worker": 0, "new": 70}
    assert (used.processes_born, used.processes_ended) == (1, 0)


def test_a_reaped_child_counts_only_what_it_used_inside_the_window():
    before = tree(reading(1, cpu_ns=10), reading(2, cpu_ns=400))
    after = tree(reading(1, cpu_ns=15, reaped_cpu_ns=1000))

    used = usage_between(before, after)

    assert used.cpu_ns_by_role == {"worker": 5, ENDED: 600}
    assert used.cpu_ns == 605
    assert used.processes_ended == 1


def test_a_chain_of_reaped_processes_is_not_counted_twice():
    before = tree(
        reading(1),
        reading(2, cpu_ns=100, reaped_cpu_ns=30),  # had reaped a child before the window
        reading(3, cpu_ns=50),  # child of 2
    )
    # In the window 3 used 20 more and was reaped by 2; 2 used 5 more and was reaped by 1.
    after = tree(reading(1, reaped_cpu_ns=(100 + 5) + 30 + (50 + 20)))

    assert usage_between(before, after).cpu_ns == 25


def test_a_pid_that_was_given_to_a_new_process_is_not_mistaken_for_the_old_one():
    used = usage_between(
        tree(reading(7, cpu_ns=900, started_ticks=1)), tree(reading(7, cpu_ns=40, started_ticks=2))
    )

    assert used.cpu_ns_by_role["worker"] == 40
    assert (used.processes_born, used.processes_ended) == (1, 1)


def test_a_role_is_the_first_pattern_that_matches():
    roles = (RolePattern(text="stub", role="worker"), RolePattern(text="triton", role="frontend"))

    assert role_of("[x] /opt/triton/stub model.py", roles) == "worker"
    assert role_of("[x] /opt/triton/server", roles) == "frontend"
    assert role_of("sh", roles) == OTHER


FAMILY = """
import json, subprocess, sys, threading, time

CHILD = '''
import sys, time
end = time.process_time() + 0.1
while time.process_time() < end: pass
print(time.process_time_ns(), flush=True)
sys.stdin.read()
'''

def burn():
    end = time.thread_time() + 0.1
    while time.thread_time() < end: pass

def start():
    argv = [sys.executable, "-S", "-c", CHILD]
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    return child, int(child.stdout.readline())

early, _ = start()
print("ready", flush=True)
sys.stdin.readline()
began_ns = time.process_time_ns()
thread = threading.Thread(target=burn)  # ends inside
thread.start()
thread.join()
short, short_ns = start()  # born and reaped inside
short.communicate()
early.communicate()  # born before, reaped inside
living, living_ns = start()  # born inside, lives on
print(json.dumps([time.process_time_ns() - began_ns, short_ns, living_ns]), flush=True)
sys.stdin.readline()
living.communicate()
"""


def test_a_real_tree_is_charged_what_its_processes_count_themselves():
    root = subprocess.Popen(
        [sys.executable, "-S", "-c", FAMILY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    with root:
        assert root.stdout.readline() == b"ready\n"
        before = read_tree_before(root.pid)
        root.stdin.write(b"go\n")
        root.stdin.flush()
        counted_ns = json.loads(root.stdout.readline())
        after = read_tree(root.pid)
        root.stdin.close()

    used = usage_between(before, after)

    # Slack: ends of interpreters that no process can count itself, and 10 ms steps of reaped time.
    assert sum(counted_ns) - 25e6 <= used.cpu_ns <= sum(counted_ns) + 80e6
    assert used.cpu_ns_by_role[ENDED] >= counted_ns[1] - 25e6
    assert (used.processes_born, used.processes_ended) == (1, 1)
    assert used.voluntary_switches > 0
    assert used.pss_bytes > 1 << 20


def test_a_window_begins_when_the_reading_before_it_is_done(monkeypatch):
    """What processes use while a large tree is read belongs to no window."""
    order = []
    monkeypatch.setattr(cpu, "cpu_clock_ns", lambda _pid: order.append("clock") or len(order))
    monkeypatch.setattr(cpu, "_pss_bytes", lambda _folder: order.append("memory") or 0)

    before = read_tree_before(os.getpid())

    assert order[-1] == "clock"
    assert max(process.cpu_ns for process in before.processes) == len(order)
