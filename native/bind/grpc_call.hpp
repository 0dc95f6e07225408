// One gRPC call as Python answers it: at once (`finish`), or message by message (`send`, `end`).
//
// Guarantees: what is done to a call that was answered, or whose client went, does nothing.
// Owner: Python; it keeps the connection object alive.
#pragma once

#include <cstdint>

#include <nanobind/nanobind.h>

namespace mpserve::bind {

struct GrpcCall {
    GrpcCall(nanobind::object owner, std::int32_t stream)
        : connection(std::move(owner)), id(stream) {}

    nanobind::object connection;
    std::int32_t id;
};

void bind_grpc_call(nanobind::module_& m);

}  // namespace mpserve::bind
