"""What Triton and MLServer answer differently, as data.

A handler asks the dialect; it never asks which peer is being spoken.
"""

from mpserve.dialect.dialect import (
    Dialect,
    DialectName,
    HealthAnswer,
    NonFiniteWords,
    Operation,
    Phrases,
)
from mpserve.dialect.error_body import error_body
from mpserve.dialect.mlserver import MLSERVER
from mpserve.dialect.statuses import BodyForm, GrpcCode, StatusRow, TransportFault
from mpserve.dialect.triton import TRITON

DIALECTS = {dialect.name: dialect for dialect in (TRITON, MLSERVER)}

__all__ = [
    "DIALECTS",
    "MLSERVER",
    "TRITON",
    "BodyForm",
    "Dialect",
    "DialectName",
    "GrpcCode",
    "HealthAnswer",
    "NonFiniteWords",
    "Operation",
    "Phrases",
    "StatusRow",
    "TransportFault",
    "error_body",
]
