"""gRPC over HTTP/2 as the native core speaks it: it answers what is common, hands over the rest."""

from mpserve._native import GrpcCall, GrpcConnection, GrpcServerConfig, http2_library_fault

__all__ = ["GrpcCall", "GrpcConnection", "GrpcServerConfig", "http2_library_fault"]
