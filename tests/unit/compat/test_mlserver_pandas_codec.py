import subprocess
import sys

import numpy as np
import pytest

from mpserve.compat.mlserver.codecs import PandasCodec
from mpserve.compat.mlserver.codecs.registry import find_request_codec
from mpserve.compat.mlserver.errors import CodecError
from mpserve.compat.mlserver.types import InferenceRequest, Parameters, RequestInput


def column(name, data, shape, datatype, content_type=None):
    parameters = Parameters(content_type=content_type) if content_type else None
    return RequestInput(name=name, shape=shape, datatype=datatype, data=data, parameters=parameters)


def test_asking_for_codecs_imports_no_pandas():
    program = (
        "import sys\n"
        "from mpserve.compat.mlserver.codecs import PandasCodec\n"
        "from mpserve.compat.mlserver.codecs.registry import find_request_codec\n"
        "assert find_request_codec(type_hint=dict) is None\n"
        "assert not PandasCodec.can_encode([1])\n"
        "assert 'pandas' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_without_pandas_its_content_type_is_refused_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(CodecError, match="needs pandas: pip install pandas"):
        PandasCodec.decode_request(InferenceRequest(inputs=[]))


class TestFrames:
    @pytest.fixture
    def pd(self):
        return pytest.importorskip("pandas")

    def test_the_codec_is_found_by_hint_and_payload(self, pd):
        assert find_request_codec(type_hint=pd.DataFrame) is PandasCodec
        assert find_request_codec(payload=pd.DataFrame({"a": [1]})) is PandasCodec

    @pytest.mark.usefixtures("pd")
    def test_inputs_become_columns(self):
        frame = PandasCodec.decode_request(
            InferenceRequest(
                inputs=[
                    column("a", [1, 2], [2], "INT64"),
                    column("b", ["x", "y"], [2, 1], "BYTES", "str"),
                    column("c", ['{"k":1}', "[2]"], [2, 1], "BYTES", "pd_json"),
                    column("d", [1, 2], [2, 1], "FP32"),
                ]
            )
        )
        assert list(frame.columns) == ["a", "b", "c", "d"]
        assert frame["a"].dtype == np.int64
        assert frame["b"].tolist() == ["x", "y"]
        assert frame["c"].tolist() == [{"k": 1}, [2]]
        assert frame["d"].dtype == np.float32

    @pytest.mark.usefixtures("pd")
    def test_tensors_of_several_dimensions_are_flattened_as_mlserver_does(self):
        request = InferenceRequest(inputs=[column("a", [1, 2, 3, 4], [2, 2], "INT64")])
        assert PandasCodec.decode_request(request)["a"].tolist() == [1, 2, 3, 4]

    def test_columns_become_outputs_with_content_types_where_they_need_one(self, pd):
        frame = pd.DataFrame(
            {"n": [1, 2], "f": [1.5, None], "s": ["x", "y"], "j": [{"k": 1}, [2]]}, index=[7, 8]
        )
        response = PandasCodec.encode_response("m", frame, model_version="v")
        outputs = [output.model_dump() for output in response.outputs]
        assert outputs == [
            {"name": "n", "shape": [2, 1], "datatype": "INT64", "data": [1, 2]},
            {"name": "f", "shape": [2, 1], "datatype": "FP64", "data": [1.5, None]},
            {
                "name": "s",
                "shape": [2, 1],
                "datatype": "BYTES",
                "parameters": {"content_type": "str"},
                "data": [b"x", b"y"],
            },
            {
                "name": "j",
                "shape": [2, 1],
                "datatype": "BYTES",
                "parameters": {"content_type": "pd_json"},
                "data": [b'{"k":1}', b"[2]"],
            },
        ]
        assert response.parameters.content_type == "pd"

    def test_a_frame_survives_the_way_there_and_back(self, pd):
        frame = pd.DataFrame({"n": [1, 2], "s": ["x", "y"], "j": [{"k": 1}, [2]]})
        back = PandasCodec.decode_request(PandasCodec.encode_request(frame))
        assert back.to_dict("list") == frame.to_dict("list")
        response = PandasCodec.encode_response("m", frame, use_bytes=False)
        assert PandasCodec.decode_response(response).to_dict("list") == frame.to_dict("list")

    @pytest.mark.parametrize(
        ("columns", "words"),
        [
            ({0: [1]}, "column 0 has no name of text"),
            ({"t": ["2020-01-01"]}, "column 't' of dtype datetime64"),
        ],
    )
    def test_columns_that_have_no_form_on_the_wire_are_refused(self, pd, columns, words):
        frame = pd.DataFrame(columns)
        if "t" in columns:
            frame["t"] = pd.to_datetime(frame["t"])
        with pytest.raises(CodecError, match=words):
            PandasCodec.encode_outputs(frame)
