"""What clients ask, whichever wire they came by: shared by HTTP and gRPC."""

import msgspec

from mpserve.dispatch.regions import Regions
from mpserve.frontend.handlers.health import Health
from mpserve.frontend.handlers.infer import InferHandler
from mpserve.frontend.handlers.labels import LabelFiles
from mpserve.frontend.handlers.metadata import MetadataHandler
from mpserve.frontend.handlers.repository import RepositoryCalls
from mpserve.frontend.handlers.statistics import StatisticsHandler


class Handlers(msgspec.Struct, frozen=True, kw_only=True):
    """All of a frontend."""

    health: Health
    metadata: MetadataHandler
    statistics: StatisticsHandler
    repository: RepositoryCalls
    regions: Regions
    infer: InferHandler
    labels: LabelFiles
