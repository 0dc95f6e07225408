"""Custom models of MLServer, written on demand."""

import textwrap

from tests.unit.runtimes.plain import mlserver_context

HEADER = """
import asyncio
from mlserver import MLModel, types
from mlserver.codecs import NumpyCodec, NumpyRequestCodec, StringCodec, decode_args
from mlserver.errors import MLServerError
from mlserver.utils import get_model_uri
import numpy as np
from typing import List, Optional
"""

ECHO = """
class Model(MLModel):
    async def predict(self, payload):
        outputs = [
            NumpyCodec.encode_output("out_" + i.name, self.decode(i, default_codec=NumpyCodec))
            for i in payload.inputs
        ]
        return types.InferenceResponse(model_name=self.name, outputs=outputs)
"""


def write(folder, source, module="their_model"):
    (folder / f"{module}.py").write_text(HEADER + textwrap.dedent(source))


def context_of(folder, **settings):
    return mlserver_context(
        folder, {"name": "m", "implementation": "their_model.Model", **settings}
    )
