// What all HTTP connections of a frontend share: limits, prebuilt answers, and the way to Python.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include <nanobind/nanobind.h>

#include "dispatcher.hpp"
#include "mpserve/client_pace.hpp"
#include "mpserve/http_head.hpp"
#include "mpserve/v2_decode.hpp"
#include "mpserve/v2_encode.hpp"

namespace mpserve::bind {

class HttpConnection;

enum class BodyOutcome : std::uint8_t { read, too_large, no_room };

inline constexpr std::size_t kReadBytes = 256 * 1024;

struct HttpConfig {
    nanobind::object dispatcher_owner;
    Dispatcher* dispatcher = nullptr;
    nanobind::object on_exchange;        // on_exchange(exchange)
    nanobind::object on_protocol_error;  // on_protocol_error(status, reason) -> bytes of the answer
    HeadLimits head_limits;
    std::uint64_t max_body_bytes = 0;         // JSON, and whole bodies of other kinds
    std::uint64_t max_binary_body_bytes = 0;  // JSON and binary tensors together
    std::uint32_t max_pipelined = 0;
    ResponseStyle style = ResponseStyle::triton;
    std::string event_fields;      // CloudEvents fields that all answers have; "": none have any
    std::string request_events;    // the same of requests, as their models see them: pairs
    bool native_inference = true;  // false: every inference needs what only Python does
    bool reads_origin = false;     // true: likewise what pages of other origins ask for
    bool compresses = true;        // answers, for clients that ask for it: Python's part
    std::string root_path;         // a proxy may leave it before paths; "": none
    std::array<std::uint16_t, kStatusCount> http_status{};    // by Status
    std::array<std::uint16_t, kStatusCount> retry_after_s{};  // by Status; 0: not told
    struct Static {
        std::string bytes;  // the whole answer
        std::uint32_t place = kNoPlace;
        std::uint16_t status = 200;
    };
    StringMap<Static> statics;                       // path -> answer to a GET
    std::uint32_t infer_place = kNoPlace;            // where inferences are counted, and
    std::uint32_t versioned_infer_place = kNoPlace;  // those that name a version
    std::unordered_set<HttpConnection*> connections;
    std::size_t handshakes = 0;  // connections that are made, but not connected: of TLS
    bool draining = false;
    ClientLimits limits;
    std::string busy_answer;    // to a connection past the limit
    std::uint64_t refused = 0;  // connections past the limit

    // Shared by all connections: one reads at a time, and keeps what it did not use.
    std::vector<std::byte> scratch = std::vector<std::byte>(kReadBytes);
    InferDecoder decoder;
    MessageBuilder builder;
    std::vector<ResponseSegment> segments;
    std::uint64_t id_state[2] = {0, 0};  // of the generator of MLServer's made-up ids
    std::string pairs;                   // headers of the request that is read

    // Counts for the metrics and for tests of the fast path.
    std::uint64_t requests_native = 0;
    std::uint64_t requests_static = 0;
    std::uint64_t requests_python = 0;
    std::array<std::uint64_t, kDecodeOutcomeCount> declined{};
};

// A version-4 UUID from the config's generator: unique, not secret.
std::string make_request_id(HttpConfig& config);

// The CloudEvents fields of an answer, for its head. What a head can not carry is left out.
void append_event_fields(const HttpConfig& config, std::string_view model_name, std::string_view id,
                         std::string& out);

// Headers that a model wants with its answer, for the head. What may not stand there is left out.
void append_model_fields(const HttpConfig& config, std::string_view pairs, std::string& out);

// Looks for clients that are too slow, or idle for too long.
void look_at_pace(HttpConfig& config);

void bind_http_config(nanobind::module_& m);

}  // namespace mpserve::bind
