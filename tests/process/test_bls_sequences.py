"""Models that call models with sequences."""

from tests.fixtures.scripted import run_script

SEQUENCE = """
sequence_batching {
  max_sequence_idle_microseconds: 5000000
  control_input [
    { name: "START" control [ { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } ] }
  ]
}
"""
ADD_UP = """
model.total = (0 if request.flags() & 1 else model.total) + 1
return [model.total, request.correlation_id()]
"""


def test_a_sequence_goes_on_where_it_began_after_a_reload(serve, repository):
    repository.add("scripted", "caller")
    repository.add("scripted", "m", config=SEQUENCE)
    flags = ["--model-control-mode=explicit", "--load-model=m", "--load-model=caller"]
    server = serve(repository.path, flags=flags)

    def step(flags: str) -> list[int]:
        code = f"return call('m', {ADD_UP!r}, correlation_id=7, flags={flags})"
        return run_script(server, "caller", code)

    flag = "pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_"
    assert step(flag + "START") == [1, 7]
    repository.write("m/1/other.py", "")
    assert server.load("m").status == 200
    assert [step("0"), step(flag + "END")] == [[2, 7], [3, 7]]


def test_a_sequence_is_sent_step_by_step(serve, repository):
    repository.add("scripted", "caller")
    repository.add("scripted", "m", config=SEQUENCE + "instance_group [{ count: 2 }]")
    server = serve(repository.path)
    code = f"""
    step = '''{ADD_UP}'''
    first, last = (pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START,
                   pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_END)
    results = []
    for number, flags in enumerate([first, 0, 0, last]):
        for sequence in (7, 8):
            results.append(call("m", step, correlation_id=sequence, flags=flags))
    return results
    """
    assert run_script(server, "caller", code) == [
        [step, sequence] for step in (1, 2, 3, 4) for sequence in (7, 8)
    ]
    lost = run_script(server, "caller", "return call('m', 'return 1', correlation_id=9)")
    assert "sequence" in lost[1]
