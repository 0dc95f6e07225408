import importlib
import importlib.util
import subprocess
import sys

import pytest

from mpserve.compat.mlserver.alias import MODULES, supply_mlserver, withdraw_mlserver

# Module -> names that models import from it, of `mlserver` 1.7.1.
IMPORTED = {
    "mlserver": "MLModel ModelSettings Settings log register __version__",
    "mlserver.model": "MLModel CodecNotFound",
    "mlserver.types": "Datatype InferenceErrorResponse InferenceRequest InferenceResponse"
    " MetadataModelErrorResponse MetadataModelResponse MetadataServerErrorResponse"
    " MetadataServerResponse MetadataTensor Parameters RepositoryIndexRequest"
    " RepositoryIndexResponse RepositoryIndexResponseItem RepositoryLoadErrorResponse"
    " RepositoryUnloadErrorResponse RequestInput RequestOutput ResponseOutput State TensorData",
    "mlserver.codecs": "Base64Codec CodecError DatetimeCodec DecodedParameterName InputCodec"
    " InputCodecLike NumpyCodec NumpyRequestCodec PandasCodec RequestCodec RequestCodecLike"
    " StringCodec StringRequestCodec decode_args decode_inference_request decode_request_input"
    " encode_inference_response encode_response_output get_decoded get_decoded_or_raw has_decoded"
    " register_input_codec register_request_codec",
    "mlserver.codecs.base": "InputCodec RequestCodec find_input_codec find_request_codec"
    " register_input_codec register_request_codec",
    "mlserver.codecs.decorator": "InputsNotFound OutputNotFound SignatureCodec decode_args"
    " find_input_codec find_request_codec",
    "mlserver.codecs.errors": "CodecError CodecNotFound InputsNotFound OutputNotFound",
    "mlserver.codecs.lists": "as_list is_list_of",
    "mlserver.codecs.numpy": "NumpyCodec NumpyRequestCodec to_datatype to_dtype",
    "mlserver.codecs.pandas": "PandasCodec",
    "mlserver.codecs.string": "StringCodec StringRequestCodec decode_str encode_str",
    "mlserver.codecs.utils": "SingleInputRequestCodec encode_inference_response"
    " find_input_codec_by_payload find_request_codec_by_payload get_decoded_or_raw has_decoded"
    " inject_batch_dimension",
    "mlserver.errors": "InferenceError MLServerError ModelNotFound ModelNotReady"
    " ModelParametersMissing",
    "mlserver.handlers": "custom_handler get_custom_handlers",
    "mlserver.logging": "get_logger logger",
    "mlserver.metrics": "log register",
    "mlserver.settings": "BaseSettings CORSSettings ModelParameters ModelSettings Settings",
    "mlserver.utils": "InvalidModelURI extract_headers generate_uuid get_model_uri insert_headers"
    " to_absolute_path",
}


@pytest.fixture
def alias():
    if importlib.util.find_spec("mlserver") is not None:
        pytest.skip("the real mlserver is installed")
    assert supply_mlserver()
    yield
    withdraw_mlserver()


@pytest.mark.usefixtures("alias")
@pytest.mark.parametrize("module", IMPORTED)
def test_what_models_import_is_there(module):
    missing = [
        name
        for name in IMPORTED[module].split()
        if not hasattr(importlib.import_module(module), name)
    ]
    assert missing == []


@pytest.mark.usefixtures("alias")
@pytest.mark.parametrize("module", MODULES)
def test_every_row_of_the_table_can_be_imported(module):
    assert importlib.import_module(module).__name__ == module


@pytest.mark.usefixtures("alias")
def test_a_class_is_the_same_by_whichever_module_it_is_imported():
    names = {
        id(importlib.import_module(module).InferenceRequest)
        for module in ("mlserver.types", "mlserver.types.dataplane")
    }
    assert len(names) == 1


@pytest.mark.usefixtures("alias")
def test_supplying_twice_changes_nothing_and_withdrawing_undoes_it():
    finders = len(sys.meta_path)
    assert supply_mlserver()
    assert len(sys.meta_path) == finders
    withdraw_mlserver()
    assert importlib.util.find_spec("mlserver") is None


@pytest.mark.usefixtures("alias")
def test_a_module_the_table_does_not_have_is_not_found():
    with pytest.raises(ModuleNotFoundError, match="mlserver.parallel"):
        importlib.import_module("mlserver.parallel")


def test_the_real_package_wins_where_it_is_installed(tmp_path):
    (tmp_path / "mlserver.py").write_text("REAL = True\n")
    program = (
        "from mpserve.compat.mlserver.alias import supply_mlserver\n"
        "assert not supply_mlserver()\n"
        "import mlserver\n"
        "assert mlserver.REAL\n"
    )
    path = [str(tmp_path), *(entry for entry in sys.path if entry)]
    subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}\n{program}"],
        check=True,
        timeout=120,
    )
