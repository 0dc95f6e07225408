"""What every runtime must do. A runtime's test file subclasses `RuntimeConformance`."""

import pytest

from mpserve.runtimes.protocol import CompletedConfig, LoadContext, Runtime
from mpserve.runtimes.registry import make_runtime

from .plain import PlainRequest


class RuntimeConformance:
    """Fixtures that a subclass brings:

    runtime: a new runtime with a builder of plain responses.
    context: what a model that answers loads from.
    broken_context: what a model that can not be loaded loads from.
    good_request, bad_request: one that the model answers, and one that it does not.
    """

    registered_name = ""

    @pytest.fixture
    def loaded(self, runtime, context):
        runtime.load(context)
        yield runtime
        runtime.unload()

    def test_it_is_a_runtime_and_found_by_its_name(self, runtime):
        assert isinstance(runtime, Runtime)
        assert runtime.name == self.registered_name
        assert type(make_runtime(self.registered_name)) is type(runtime)

    def test_load_returns_the_configuration(self, runtime, context: LoadContext):
        completed = runtime.load(context)
        assert isinstance(completed, CompletedConfig)
        assert completed.config_json == context.config_json
        runtime.unload()

    def test_load_of_a_broken_model_raises_and_can_be_unloaded(self, runtime, broken_context):
        with pytest.raises(Exception) as caught:  # noqa: PT011  # whatever the model raises
            runtime.load(broken_context)
        assert str(caught.value)
        runtime.unload()

    def test_one_response_for_each_request_in_order(self, loaded, good_request, bad_request):
        responses = loaded.execute([good_request, bad_request, good_request])
        assert [response.has_error() for response in responses] == [False, True, False]

    def test_an_error_tells_what_was_wrong_in_words(self, loaded, bad_request):
        (response,) = loaded.execute([bad_request])
        assert response.failure.message
        assert "Traceback" not in response.failure.message

    def test_a_request_without_inputs_gets_an_answer_or_an_error(self, loaded):
        (response,) = loaded.execute([PlainRequest()])
        assert response is not None

    def test_the_same_request_gets_the_same_answer(self, loaded, good_request):
        first, second = loaded.execute([good_request])[0], loaded.execute([good_request])[0]
        for one, other in zip(first.output_tensors(), second.output_tensors(), strict=True):
            assert one.as_numpy().tolist() == other.as_numpy().tolist()

    def test_unload_is_idempotent_and_allowed_without_load(self, runtime, context):
        runtime.unload()
        runtime.load(context)
        runtime.unload()
        runtime.unload()

    def test_it_can_be_loaded_again_after_unload(self, runtime, context, good_request):
        runtime.load(context)
        runtime.unload()
        runtime.load(context)
        (response,) = runtime.execute([good_request])
        assert not response.has_error()
        runtime.unload()
