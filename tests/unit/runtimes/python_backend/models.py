"""Models of Triton's Python backend, written on demand."""

import textwrap


def executing(body):
    """Return a model whose `execute` has this body."""
    return "class TritonPythonModel:\n    def execute(self, requests):\n" + textwrap.indent(
        textwrap.dedent(body), " " * 8
    )
