"""All services of a frontend, put together by the dialect."""

from typing import Final

from mpserve.codec.cloud_events import Events
from mpserve.dialect import Dialect
from mpserve.frontend.grpc.call import Services, StreamMethod, UnaryMethod
from mpserve.frontend.grpc.health_service import CHECK_PATH, WATCH_PATH, HealthService
from mpserve.frontend.grpc.infer import GrpcInfer
from mpserve.frontend.grpc.infer_stream import InferStreams
from mpserve.frontend.grpc.inference_service import InferenceService
from mpserve.frontend.grpc.messages import INFERENCE_SERVICE, inference_schema
from mpserve.frontend.grpc.reflection_service import reflection_methods
from mpserve.frontend.grpc.restriction import MethodRestrictions
from mpserve.frontend.handlers.forwarding import HeaderForwarding
from mpserve.frontend.handlers.handlers import Handlers
from mpserve.model.proto.schema import HEALTH, MLSERVER_REPOSITORY, schema
from mpserve.settings import GrpcSettings
from mpserve.shm.dispatcher import Dispatcher

_INFER_PATH: Final = f"/{INFERENCE_SERVICE}/ModelInfer"
_FIXED_PATHS: Final = (
    f"/{INFERENCE_SERVICE}/ServerLive",
    f"/{INFERENCE_SERVICE}/ServerReady",
    f"/{INFERENCE_SERVICE}/ServerMetadata",
    CHECK_PATH,
)
_REPOSITORY_SERVICE: Final = "inference.model_repository.ModelRepositoryService"


def make_services(
    handlers: Handlers,
    *,
    dialect: Dialect,
    dispatcher: Dispatcher,
    settings: GrpcSettings,
    events: Events,
) -> Services:
    """Return every method that the dialect serves, over the handlers that HTTP uses too."""
    offered = dialect.grpc_services
    schemas = [inference_schema(dialect.name), schema(HEALTH)]
    service = InferenceService(
        dialect=dialect,
        health=handlers.health,
        metadata=handlers.metadata,
        statistics=handlers.statistics,
        repository=handlers.repository,
        regions=handlers.regions,
    )
    grpc_infer = GrpcInfer(
        handler=handlers.infer,
        dispatcher=dispatcher,
        labels=handlers.labels,
        forwarding=HeaderForwarding(settings.header_forward_pattern, events=events.request),
        dialect=dialect,
        events=events,
    )
    checks = HealthService(handlers.health)
    unary: dict[str, UnaryMethod] = {
        **service.methods(),
        _INFER_PATH: grpc_infer.answer,
        CHECK_PATH: checks.check,
    }
    streams: dict[str, StreamMethod] = {
        f"/{INFERENCE_SERVICE}/ModelStreamInfer": InferStreams(
            infer=grpc_infer, dialect=dialect
        ).open,
    }
    if offered.model_repository:
        repository_schema = schema(MLSERVER_REPOSITORY)
        schemas.append(repository_schema)
        unary |= service.methods_of(repository_schema, _REPOSITORY_SERVICE)
    if offered.health_watch:
        streams[WATCH_PATH] = checks.watch
    streams |= reflection_methods(schemas)
    restrictions = MethodRestrictions(settings.restrictions)
    return Services(
        unary=unary,
        streams=streams,
        refusal=restrictions.refusal if restrictions else None,
        is_guarded=restrictions.covers,
        restrict_by=restrictions.change,
        native_infer=grpc_infer.native,
        infer_path=_INFER_PATH,
        fixed_paths=_FIXED_PATHS,
        asked_once=frozenset((WATCH_PATH,)),
    )
