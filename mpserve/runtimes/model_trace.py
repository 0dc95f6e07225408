"""What a client is told about an exception of a model: type, message and where it was raised.

Source: the form of Triton's Python backend,

    ValueError: bad weights

    At:
      /models/m/1/model.py(12): initialize
"""

from types import TracebackType


def describe_exception(error: BaseException, *, outside: str) -> str:
    """Return the text for the client.

    Parameters
    ----------
    outside
        File whose frames called the model and are left out.

    Returns
    -------
    str
        `<Type>: <message>`, and the frames, innermost first, when there are any.
    """
    head = f"{type(error).__name__}: {_message(error)}"
    frames = _frames(error.__traceback__, outside=outside)
    return "\n".join([head, "", "At:", *frames, ""]) if frames else head


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001  # the model's own __str__
        return "<the exception's own text could not be made>"


def _frames(traceback: TracebackType | None, *, outside: str) -> list[str]:
    frames: list[str] = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if code.co_filename != outside:
            frames.append(f"  {code.co_filename}({traceback.tb_lineno}): {code.co_name}")
        traceback = traceback.tb_next
    return frames[::-1]
