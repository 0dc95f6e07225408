"""A batch is one call of the library, and what is wrong with one request is no other's failure."""

import json
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
from sklearn.preprocessing import FunctionTransformer

COUNT = 8
BATCHING = {"max_batch_size": COUNT, "max_batch_time": 30.0}  # goes when it is full
SUMS = """
import numpy as np
from mlserver import MLModel
from mlserver.codecs import decode_args

class Sums(MLModel):
    @decode_args
    async def predict(self, x: np.ndarray) -> np.ndarray:
        if np.isnan(x).any():
            raise ValueError("Input X contains NaN.")
        return np.cumsum(x, axis=0)
"""


def write_sklearn(folder):
    # Rows know of those before them: who was in the same call is seen from outside.
    sums = FunctionTransformer(np.cumsum, kw_args={"axis": 0}, validate=True)
    joblib.dump(sums, folder / "model.joblib")
    return {"implementation": "sklearn", "parameters": {"extra": {"predict_fn": "transform"}}}


def write_mlserver(folder):
    (folder / "sums.py").write_text(SUMS)
    return {"implementation": "sums.Sums"}


@pytest.fixture(params=[write_sklearn, write_mlserver], ids=["sklearn", "mlserver"])
def server(request, start, tmp_path):
    folder = tmp_path / "models" / "sums"
    folder.mkdir(parents=True)
    settings = {"name": "sums", **request.param(folder), **BATCHING}
    (folder / "model-settings.json").write_text(json.dumps(settings))
    return start(tmp_path / "models")


def ask_at_once(server, values):
    def ask(value):
        tensor = {"name": "x", "datatype": "FP64", "shape": [1, 1], "data": [value]}
        return server.infer("sums", {"inputs": [tensor]})

    with ThreadPoolExecutor(COUNT) as pool:
        return list(pool.map(ask, values))


def test_a_batch_is_one_call(server):
    answers = ask_at_once(server, [1.0] * COUNT)
    found = sorted(answer.json()["outputs"][0]["data"] for answer in answers)
    assert found == [[float(number)] for number in range(1, COUNT + 1)]


def test_a_bad_request_fails_alone(server):
    *good, bad = ask_at_once(server, [1.0] * (COUNT - 1) + [None])
    assert bad.status in {400, 500}
    assert "Input X contains NaN." in bad.json()["error"]
    assert [answer.json()["outputs"][0]["data"] for answer in good] == [[1.0]] * (COUNT - 1)


def test_requests_that_differ_in_more_than_rows_get_their_own_answers(start, tmp_path):
    """MLServer puts them into one tensor, which gives them each other's rows, shapes and types."""
    folder = tmp_path / "models" / "sums"
    folder.mkdir(parents=True)
    settings = {"name": "sums", **write_mlserver(folder), **BATCHING, "max_batch_time": 0.5}
    (folder / "model-settings.json").write_text(json.dumps(settings))
    server = start(tmp_path / "models")
    kinds = [("FP64", 1), ("FP64", 2), ("INT64", 1), ("FP32", 3)] * 2

    def ask(kind):
        datatype, size = kind
        tensor = {"name": "x", "datatype": datatype, "shape": [1, size], "data": [1] * size}
        answer = server.infer("sums", {"inputs": [tensor]})
        assert answer.status == 200, answer
        return answer.json()["outputs"][0]

    with ThreadPoolExecutor(len(kinds)) as pool:
        for (datatype, size), found in zip(kinds, pool.map(ask, kinds), strict=True):
            assert (found["datatype"], found["shape"]) == (datatype, [1, size])
            assert found["data"] in ([1] * size, [2] * size)
