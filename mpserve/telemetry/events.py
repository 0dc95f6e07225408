"""Names of all log events, each with what it means. A name is `noun.past`.

A test reads the whole source and fails on an event that is not listed here, and on a row that
nothing logs.
"""

from collections.abc import Mapping
from typing import Final

EVENTS: Final[Mapping[str, str]] = {
    "batch.divided": "A model refused requests as one batch; each was answered on its own.",
    "call.broke": "A load, unload or index call met a defect of mpserve; the client got an error.",
    "caller.refused": "Too many workers send requests to models; this one may not.",
    "calls.broke": "A defect while answers to a model's requests were taken.",
    "circle.broken": "Models waited for each other; a request of one of them was refused.",
    "ensemble.withdrawn": "An ensemble can not serve any more: one of its models went or changed.",
    "folders.swept": "Model files of load calls that killed servers had left behind were removed.",
    "frontend.died": "A frontend ended by itself; it is started again.",
    "frontend.hung": "A frontend did not take a routing table in time; it is replaced.",
    "frontend.ready": "A frontend listens.",
    "frontend.cut_off": "A frontend ended although clients still waited; the grace was over.",
    "grpc.fell_back": "gRPC is carried by grpc.aio, which costs more; says why.",
    "labels.unreadable": "A label file can not be read; classes of that output have no labels.",
    "library.logged": "A line of Python's `logging`, from a model or a library.",
    "load.begun": "A load of a model starts (debug).",
    "lines.lost": "Nobody read the log for a while, and lines were lost; says how many.",
    "lines.suppressed": "Lines that repeated too often were left out; says which and how many.",
    "log.kept": "The log's file could not be opened again; what was written to goes on.",
    "log.switched": "A client changed what the log writes; it says what is written from now on.",
    "message.unexpected": "A process sent a message that makes no sense now: a defect of mpserve.",
    "metadata.failed": "A model's own metadata failed; what its settings say is shown.",
    "metrics.ready": "The metrics are served.",
    "model.duplicated": "A model lies in two repositories; it is not served.",
    "model.load_failed": "A load of a model failed; what was serving before goes on.",
    "model.loaded": "A load of a model succeeded; the new versions serve.",
    "model.raised": "The model's own code raised; the traceback is below.",
    "model.unreadable": "A model's folder can not be used; says why.",
    "model.withdrawn": "A model is no longer served.",
    "port.kept": "Connections that wait when a shared port is handed over may be lost; says why.",
    "queue.refused": "No queue could be made for a model version, e.g. because `/dev/shm` is full.",
    "queue.vanished": "A queue was gone before a frontend could open it; the next table follows.",
    "process.stopped": "A process was stopped by a signal; it is killed unless it goes on soon.",
    "region.registered": "A client registered shared memory of its own.",
    "region.unregistered": "A client's shared memory is not used by new requests any more.",
    "repository.doubted": "Something in the repository is passed over; says what and why.",
    "repository.unreadable": "A repository folder can not be read; its models stay as they are.",
    "requests.refused": "Waiting requests were refused because their queue ended.",
    "scan.broke": "A scan of the repository met a defect of mpserve; the next one follows.",
    "scrape.broke": "A defect of mpserve while the metrics were written; the scraper got a 500.",
    "segments.swept": "Shared memory that killed servers had left behind was removed.",
    "server.ended": "The server ended; the last line of its log.",
    "request.crashed": "A defect of mpserve while a request was answered; the client got a 500.",
    "server.ready": "The models of the start are loaded and the frontends listen.",
    "server.stopping": "The server was told to end; requests in flight may finish.",
    "supervisor.died": "The supervisor ended by itself or hung; another one takes over.",
    "supervisor.gone": "A frontend has no server any more; it answers what is in flight and ends.",
    "supervisor.given_up": "The supervisor died too often; the server ends.",
    "supervisor.took_over": "A new supervisor has what the last one knew; says what it found.",
    "unload.begun": "An unload of a model starts (debug).",
    "sequence.restarted": "A sequence was started anew under its id before it had ended.",
    "settings.failed": "Of settings that were read again, something could not be used; says what.",
    "settings.refused": "Settings were read again and can not be taken; nothing changed.",
    "settings.taken": "Settings were read again and hold from now on; says what changed.",
    "setting.doubted": "A setting that is allowed and may surprise, or changes nothing.",
    "spawner.died": "The process that forks workers ended; it is started again.",
    "spawner.started": "The process that forks workers runs.",
    "stub.unused": "A model brings a stub of Triton's; it runs on the server's Python instead.",
    "weights.doubted": "Instances are forks of one load and share something; says what.",
    "version.given_up": "A model version's workers died too often; it is not started again.",
    "version.lingers": "A replaced generation stays, as sequences go on in it; says how many.",
    "version.load_failed": "A model version failed to load; says why.",
    "version.loading": "A model version starts to load.",
    "version.unloaded": "All processes of a generation of a model version have ended.",
    "trace.unwritable": "A trace could not be written into its file; it is lost.",
    "worker.complains": "A model says that it is not ready (`is_ready`), but takes requests.",
    "worker.ended": "A worker's process is gone; says how, and how many requests that failed.",
    "worker.killed": "A worker was killed on purpose; says why.",
    "worker.load_failed": "A worker could not load its model; the traceback is below.",
    "worker.overdue": "An execution took longer than its model may take; the worker is replaced.",
    "worker.ready": "A worker has loaded its model and takes requests.",
    "worker.recovered": "A model that was not ready says that it is.",
    "worker.refused": "No process could be started for a worker.",
}


def events_page() -> str:
    """Return `docs/log-events.md`."""
    rows = [f"| `{name}` | {meaning} |" for name, meaning in sorted(EVENTS.items())]
    head = [
        "# Log events",
        "",
        "<!-- Made by `make docs` from `mpserve/telemetry/events.py`; do not edit. -->",
        "",
        "| event | means |",
        "|---|---|",
    ]
    return "\n".join([*head, *rows]) + "\n"
