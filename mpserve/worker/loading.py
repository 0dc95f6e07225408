"""Loading of the one model of a worker."""

from mpserve.control.messages import WorkerStart
from mpserve.errors import LoadError, MpserveError
from mpserve.model.definition import ConfigFormat
from mpserve.model.triton.completion import check_completed
from mpserve.runtimes.model_trace import describe_exception
from mpserve.runtimes.protocol import CompletedConfig, LoadContext, Runtime
from mpserve.runtimes.registry import make_runtime, require_streams
from mpserve.worker.readable_files import require_readable
from mpserve.worker.warm_up import warm_up


class Loaded:
    """A model that is ready to execute.

    Attributes
    ----------
    start
        What the worker was told.
    runtime
        Holds the model; `loop.serve` unloads it at its end.
    completed
        The configuration after loading.
    """

    def __init__(self, *, start: WorkerStart, runtime: Runtime, completed: CompletedConfig) -> None:
        self.start = start
        self.runtime = runtime
        self.completed = completed


def load(start: WorkerStart) -> Loaded:
    """Load the model that `start` names, and warm it up; may take long.

    Raises
    ------
    MpserveError
        Whatever went wrong; its message is for the client, its cause has the traceback.
        `LoadError` when it was the model's code that raised.
    """
    if start.user:
        require_readable(start.version_directory, user=start.user)
    runtime = make_runtime(start.runtime)
    try:
        completed = runtime.load(context_of(start))
        if start.complete_config and start.format is ConfigFormat.TRITON:
            # A runtime that completes nothing leaves what the file may lack.
            check_completed(completed.config_json)
        if completed.config.decoupled:
            require_streams(runtime, model_name=start.instance.name)
        if not start.passive:
            warm_up(runtime, completed, start)
    except MpserveError:
        runtime.unload()
        raise
    except BaseException as error:  # a model's sys.exit() is a failed load, not the worker's end
        runtime.unload()
        raise LoadError(describe_exception(error, outside=__file__)) from error
    return Loaded(start=start, runtime=runtime, completed=completed)


def context_of(start: WorkerStart) -> LoadContext:
    """Return what the runtime may know of what the worker was told."""
    return LoadContext(
        model_name=start.instance.name,
        version=start.instance.version,
        instance_name=start.instance_name,
        instance_kind=start.instance_kind,
        model_directory=start.model_directory,
        version_directory=start.version_directory,
        config=start.config,
        config_json=start.config_json,
        settings_json=start.settings_json,
        complete_config=start.complete_config,
    )
