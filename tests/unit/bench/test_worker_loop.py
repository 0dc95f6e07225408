from bench.micro.worker_loop import batch_of, load_model


def test_a_batch_runs_through_the_loop_of_today(tmp_path):
    batch_of(4, load_model(tmp_path))()  # what goes wrong in it raises
