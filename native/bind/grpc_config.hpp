// What all gRPC connections of a frontend share: methods, limits, and the way to Python.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include <nanobind/nanobind.h>

#include "dispatcher.hpp"
#include "grpc_stream.hpp"
#include "mpserve/client_pace.hpp"
#include "mpserve/http2_library.hpp"
#include "mpserve/ping_strikes.hpp"

namespace mpserve::bind {

class GrpcConnection;
class ProtoInfer;

struct GrpcMethod {
    std::string path;
    nanobind::object handler;  // handler(message, call), or of a stream handler(call, metadata)
    bool streams = false;
    bool guarded = false;         // `refusal` is asked before anything
    bool infers = false;          // the core answers what is common
    bool wants_metadata = false;  // kept for Python
    bool has_fixed = false;
    std::uint32_t place = kNoPlace;  // where its calls are counted
    TrafficKind kind = TrafficKind::unary;
    std::string fixed;  // framed answer to a request without content
};

// Times in nanoseconds, 0 for no limit.
struct GrpcTimes {
    std::uint64_t keepalive_ns = 0;
    std::uint64_t keepalive_timeout_ns = 0;
    std::uint64_t max_age_ns = 0;
    std::uint64_t max_age_grace_ns = 0;
    std::uint32_t max_pings_without_data = 0;
    bool keepalive_without_calls = false;
    PingStrikes::Limits strikes;
};

struct GrpcConfig {
    GrpcConfig() = default;
    ~GrpcConfig();
    GrpcConfig(const GrpcConfig&) = delete;
    GrpcConfig& operator=(const GrpcConfig&) = delete;

    // Makes what sessions are made with.
    void prepare();
    // Looks at deadlines and ages no later than this.
    void want_look(std::uint64_t at_ns);
    void look();
    std::unique_ptr<GrpcStream> take_stream();
    void give_back(std::unique_ptr<GrpcStream> stream);
    void forget(GrpcConnection* connection);

    std::unique_ptr<const http2::Library> library;
    http2::Callbacks* callbacks = nullptr;
    http2::Option* option = nullptr;

    nanobind::object dispatcher_owner;
    Dispatcher* dispatcher = nullptr;
    nanobind::object infer_owner;  // ProtoInfer, or None
    ProtoInfer* infer = nullptr;
    nanobind::object refusal;     // refusal(path, metadata) -> failure or None
    nanobind::object inflate;     // inflate(message, encoding) -> bytes or failure
    nanobind::object deflate;     // deflate(message, encoding) -> bytes
    nanobind::object on_crash;    // on_crash(path, exception) -> failure
    nanobind::object call_later;  // the loop's
    nanobind::object on_empty;    // on_empty(): the last connection went
    nanobind::object look_callable;

    StringMap<std::unique_ptr<GrpcMethod>> methods;
    std::array<std::uint32_t, kStatusCount> status_codes{};  // by Status
    std::uint64_t max_message_bytes = 0;
    GrpcTimes times;
    std::array<GrpcEncoding, 2> compression{};  // wanted, in this order; identity: none
    std::string not_found = "Method not found!";
    bool draining = false;
    ClientLimits limits;
    std::uint64_t refused = 0;  // connections past the limit

    std::unordered_set<GrpcConnection*> connections;
    std::size_t handshakes = 0;    // connections that are made, but not connected: of TLS
    std::uint64_t look_at_ns = 0;  // when `look` is called next, 0: not at all
    nanobind::object look_timer;   // the one that does; there is never another

    // Shared by all connections: one reads at a time.
    std::vector<std::byte> scratch;
    std::vector<std::unique_ptr<GrpcStream>> unused;

    // Counts for tests of the fast path.
    std::uint64_t calls_native = 0;
    std::uint64_t calls_fixed = 0;
    std::uint64_t calls_python = 0;
};

// Looks for clients that are too slow, or idle for too long.
void look_at_pace(GrpcConfig& config);

void bind_grpc_config(nanobind::module_& m);

}  // namespace mpserve::bind
