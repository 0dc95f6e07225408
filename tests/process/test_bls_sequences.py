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
