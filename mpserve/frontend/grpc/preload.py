"""What the spawner imports once for the gRPC of all frontends.

Importing this module is all there is to do. Frontends would read it when they start; like this, one
that starts later needs no file, which an upgrade may have replaced.
"""

from mpserve.dialect import DialectName
from mpserve.frontend.grpc import services, transport
from mpserve.frontend.grpc.messages import inference_schema
from mpserve.model.proto.schema import (
    HEALTH,
    MLSERVER_REPOSITORY,
    REFLECTION,
    REFLECTION_V1,
    schema,
)

__all__ = ["services", "transport"]

for _dialect in DialectName:
    inference_schema(_dialect)
for _file in (HEALTH, MLSERVER_REPOSITORY, REFLECTION, REFLECTION_V1):
    schema(_file)
