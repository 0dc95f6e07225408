"""Settings, URIs, metadata, metrics, errors: what a model's code touches besides codecs."""

import asyncio

import pytest

from mpserve.compat.mlserver import MLModel, ModelSettings, Settings, log, register
from mpserve.compat.mlserver import errors as e
from mpserve.compat.mlserver.context import model_context
from mpserve.compat.mlserver.handlers import CustomHandler, custom_handler, get_custom_handlers
from mpserve.compat.mlserver.headers import extract_headers, insert_headers
from mpserve.compat.mlserver.model_uri import get_model_uri, to_absolute_path
from mpserve.compat.mlserver.settings import ModelParameters
from mpserve.compat.mlserver.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataTensor,
    Parameters,
    RequestInput,
)
from mpserve.telemetry.model_metrics import RECORDER


def settings_of(**members):
    return ModelSettings(name="m", implementation=MLModel, **members)


class TestSettings:
    def test_a_file_is_parsed_and_remembered(self, tmp_path):
        (tmp_path / "some_model.py").write_text("class Model: pass\n")
        path = tmp_path / "model-settings.json"
        path.write_text(
            '{"name":"mm","implementation":"some_model.Model","unknown":3,'
            '"parameters":{"uri":"./w","version":"v2","extra":{"a":1},"zork":5}}'
        )
        settings = ModelSettings.parse_file(path)
        assert settings.implementation.__name__ == "Model"
        assert (settings.version, settings._source) == ("v2", str(path))
        assert (settings.parameters.extra, settings.parameters.zork) == ({"a": 1}, 5)
        assert settings.dict() == {
            "implementation": "some_model.Model",
            "name": "mm",
            "parameters": {"uri": "./w", "version": "v2", "extra": {"a": 1}, "zork": 5},
        }

    def test_an_implementation_may_be_a_class_and_can_be_replaced(self):
        settings = settings_of()
        assert settings.implementation is MLModel
        assert settings.implementation_ == "mpserve.compat.mlserver.model.MLModel"
        settings.implementation = TestSettings
        assert settings.implementation is TestSettings

    @pytest.mark.parametrize("path", ["not_there.Model", "json.Model", "Model"])
    def test_an_implementation_that_is_not_there_is_an_import_error(self, path):
        with pytest.raises(ImportError):
            _ = ModelSettings(implementation=path).implementation

    def test_defaults_are_the_peers(self):
        settings = settings_of(max_batch_size="4")
        assert (settings.max_batch_size, settings.max_batch_time) == (4, 0.0)
        assert (settings.parameters, settings.version, settings.inputs) == (None, None, [])
        assert ModelParameters().extra == {}
        assert (Settings().http_port, Settings().server_version) == (8080, "1.7.1")

    def test_an_implementation_is_required(self):
        with pytest.raises(ValueError, match="implementation\n  Field required"):
            ModelSettings(name="x")


class TestModelUri:
    @pytest.fixture
    def uri(self, tmp_path):
        (tmp_path / "weights.bin").touch()
        (tmp_path / "model.joblib").touch()

        def uri(text, *wellknown):
            settings = settings_of(parameters=ModelParameters(uri=text))
            settings._source = str(tmp_path / "model-settings.json")
            return asyncio.run(get_model_uri(settings, wellknown_filenames=list(wellknown)))

        return uri

    @pytest.mark.parametrize(
        ("text", "wellknown", "expected"),
        [
            ("./weights.bin", (), "/weights.bin"),
            ("weights.bin", (), "/weights.bin"),
            (".", ("model.pkl", "model.joblib"), "/model.joblib"),
            (".", ("model.pkl",), ""),
            (".", (), ""),
        ],
    )
    def test_relative_uris_start_at_the_settings(self, uri, tmp_path, text, wellknown, expected):
        assert uri(text, *wellknown) == f"{tmp_path}{expected}"

    def test_absolute_paths_file_urls_and_other_urls(self, uri, tmp_path):
        assert uri(f"{tmp_path}/weights.bin") == f"{tmp_path}/weights.bin"
        assert uri(f"file://{tmp_path}/weights.bin") == f"{tmp_path}/weights.bin"
        assert uri("s3://x/y") == "s3://x/y"

    @pytest.mark.parametrize("text", [None, "", "nope.bin", "/nope"])
    def test_a_uri_that_leads_nowhere_is_refused(self, uri, text):
        with pytest.raises(e.InvalidModelURI, match="Invalid URI specified for model m"):
            uri(text)

    def test_paths_are_joined_by_name(self, tmp_path):
        settings = settings_of()
        assert to_absolute_path(settings, "a/b") == "a/b"
        settings._source = str(tmp_path / "model-settings.json")
        assert to_absolute_path(settings, "../w") == str(tmp_path.parent / "w")
        assert to_absolute_path(settings, "/a/b") == "/a/b"


class TestModel:
    def test_a_model_that_overrides_nothing_loads_and_predicts_nothing(self):
        model = MLModel(settings_of())
        assert asyncio.run(model.load()) is True
        assert asyncio.run(model.unload()) is True
        assert (model.name, model.version, model.ready) == ("m", None, False)
        with pytest.raises(NotImplementedError, match=r"predict\(\) method not implemented"):
            asyncio.run(model.predict(InferenceRequest(inputs=[])))

    def test_metadata_shows_the_settings(self):
        parameters = ModelParameters(version="v1", content_type="np")
        model = MLModel(settings_of(platform="p", versions=["a"], parameters=parameters))
        assert asyncio.run(model.metadata()).model_dump() == {
            "name": "m",
            "platform": "p",
            "versions": ["a"],
            "inputs": [],
            "outputs": [],
            "parameters": {"content_type": "np"},
        }

    def test_inputs_set_later_decide_how_they_are_decoded(self):
        model = MLModel(settings_of())
        declared = Parameters(content_type="np")
        model.inputs = [MetadataTensor(name="x", datatype="INT32", shape=[1], parameters=declared)]
        one = RequestInput(name="x", shape=[1], datatype="INT32", data=[1])
        assert model.decode(one).tolist() == [1]

    def test_predict_stream_answers_each_request(self):
        class Echo(MLModel):
            async def predict(self, payload):
                return payload.id

        async def stream():
            async def payloads():
                yield InferenceRequest(id="a", inputs=[])
                yield InferenceRequest(id="b", inputs=[])

            return [answer async for answer in Echo(settings_of()).predict_stream(payloads())]

        assert asyncio.run(stream()) == ["a", "b"]

    def test_marked_methods_are_found(self):
        class Marked(MLModel):
            @custom_handler(rest_path="/mine", rest_method="GET")
            async def mine(self): ...

        model = Marked(settings_of())
        ((handler, method),) = get_custom_handlers(model)
        assert handler == CustomHandler(rest_path="/mine", rest_method="GET")
        assert method == model.mine


def test_headers_go_into_a_request_and_out_of_a_response():
    request = insert_headers(InferenceRequest(inputs=[]), {"a": "b"})
    assert request.parameters.headers == {"a": "b"}
    response = InferenceResponse(
        model_name="m", outputs=[], parameters=Parameters(headers={"x": "y"})
    )
    assert extract_headers(response) == {"x": "y"}
    assert response.parameters.headers is None
    assert extract_headers(response) is None


class TestMetrics:
    def test_values_are_counted_for_the_running_model(self):
        histogram = register("seconds_in_test", "Time")
        assert register("seconds_in_test", "other words") is histogram
        with model_context(settings_of(parameters=ModelParameters(version="v2"))):
            log(seconds_in_test=0.01, made_by_log=100.0)
            log(seconds_in_test=3)
        families = {family.name: family for family in RECORDER.told()}
        (series,) = families["seconds_in_test"].series
        assert series.labels == (("model_name", "m"), ("model_version", "v2"))
        assert (sum(series.counts), series.value) == (2, 3.01)
        assert (series.counts[1], series.counts[11]) == (1, 1)  # up to 0.01, up to 5
        assert families["seconds_in_test"].help == "Time"
        assert families["made_by_log"].series[0].counts[-1] == 1

    def test_outside_of_a_model_nothing_can_be_logged(self):
        with pytest.raises(e.InvalidModelContext) as caught:
            log(anything=1)
        assert caught.value.status_code == 500


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (e.MLServerError("m"), 400, "m"),
        (e.MLServerError("m", 418), 418, "m"),
        (e.InferenceError("m"), 400, "m"),
        (e.InvalidModelURI("n"), 422, "Invalid URI specified for model n"),
        (e.InvalidModelURI("n", "u"), 422, "Invalid URI specified for model n (u)"),
        (e.ModelNotFound("n"), 404, "Model n not found"),
        (e.ModelNotFound("n", "v"), 404, "Model n with version v not found"),
        (e.ModelNotReady("n"), 400, "Model n is not ready yet."),
        (e.ModelNotReady("n", "1"), 400, "Model n with version 1 is not ready yet."),
        (e.ModelParametersMissing("n"), 400, "Parameters missing for model n"),
        (e.CodecError("x"), 400, "There was an error encoding / decoding the payload: x"),
        (e.CodecNotFound(), 400, "Codec not found for output field "),
        (
            e.CodecNotFound("n", "p", is_input=True),
            400,
            "Codec not found for input field with name 'n' and type p",
        ),
        (
            e.CodecNotFound("n", "p", is_request=True),
            400,
            "Codec not found for output response with name 'n' and type p",
        ),
        (e.InputsNotFound([], {"a": int}), 400, "Input  was not found. Available inputs are 'a'."),
    ],
)
def test_errors_speak_the_peers_words_with_its_statuses(error, status, words):
    assert (error.status_code, str(error)) == (status, words)
    assert isinstance(error, e.MLServerError)
