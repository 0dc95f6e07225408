"""`model_warmup` with real workers."""

import struct

from tests.fixtures.teller import ask, tell
from tests.fixtures.waiting import wait_until

EXPLICIT = "--model-control-mode=explicit"
SAMPLE = """
model_warmup {
  name: "one" batch_size: 1 count: 3
  inputs { key: "SECONDS" value { data_type: TYPE_FP32 dims: 1 zero_data: true } }
}
"""


def test_each_instance_is_warmed_up_before_it_is_ready(serve, repository):
    sample = SAMPLE.replace("zero_data: true", 'input_data_file: "seconds"')
    folder = repository.add("teller", "a", config=sample + "instance_group [ { count: 2 } ]")
    (folder / "warmup").mkdir()
    (folder / "warmup" / "seconds").write_bytes(struct.pack("<f", 0.001))
    server = serve(repository.path)
    wait_until(lambda: server.log_text.count("teller works for 0.001 s") == 6)
    statistics = server.get("/v2/models/a/stats").json()["model_stats"]
    assert [one["inference_count"] for one in statistics] == [0]
    assert tell(server, "a").version == 1


def test_a_warm_up_that_fails_fails_the_load_and_leaves_what_serves(serve, repository):
    repository.add("teller", "a")
    server = serve(repository.path, flags=[EXPLICIT, "--load-model=a"])
    before = tell(server, "a")
    repository.add("teller", "a", config=SAMPLE.replace("dims: 1 ", "dims: -1 "))
    answer = server.load("a")
    assert answer.status == 400
    assert "warmup setting expects all variable-size dimensions" in answer.json()["error"]
    assert tell(server, "a") == before
    assert ask(server, "a").status == 200


def test_a_model_that_raises_in_its_warm_up_does_not_load(serve, repository):
    folder = repository.add_faulty("bad", place="execute", fault="raise")
    config = (folder / "config.pbtxt").read_text()
    sample = SAMPLE.replace("SECONDS", "INPUT0")
    repository.write("bad/config.pbtxt", config + sample)
    server = serve(repository.path, flags=[EXPLICIT])
    answer = server.load("bad")
    assert answer.status == 400
    assert "failed to run warmup sample 'one': " in answer.json()["error"]
    assert "this model is broken on purpose" in answer.json()["error"]
