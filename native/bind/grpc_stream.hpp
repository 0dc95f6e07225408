// One call of a gRPC connection: its head, its messages, its answer.
//
// Owner: a connection while the call is open, then the config, which uses it again.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nanobind/nanobind.h>

#include "lent_bytes.hpp"
#include "mpserve/arena.hpp"
#include "mpserve/byte_buffer.hpp"
#include "mpserve/client_pace.hpp"
#include "mpserve/grpc_framing.hpp"
#include "mpserve/grpc_header.hpp"
#include "mpserve/v2_encode.hpp"

namespace mpserve::bind {

struct GrpcMethod;

// Statuses of gRPC that the transport itself gives; source: the gRPC specification.
enum class GrpcStatus : std::uint32_t {
    ok = 0,
    cancelled = 1,
    deadline_exceeded = 4,
    resource_exhausted = 8,
    unimplemented = 12,
    internal = 13,
    unavailable = 14
};

inline constexpr std::string_view kDeadlineMessage = "Deadline Exceeded";

// A message that was received. Its bytes lie in the read buffer until `owned` has them, or, large
// ones, in a block of the arena.
struct GrpcMessage {
    bool compressed = false;
    std::string_view bytes;
    ByteBuffer owned;
    Block block;
    std::uint64_t block_offset = 0;
};

struct GrpcStream {
    std::int32_t id = 0;
    std::size_t index = 0;  // in the connection's list

    // The head.
    const GrpcMethod* method = nullptr;  // nullptr: there is none at that path
    ByteBuffer metadata;                 // name NUL value NUL, each
    std::uint32_t head_bytes = 0;
    std::uint64_t deadline_ns = 0;  // 0: none
    GrpcEncoding encoding = GrpcEncoding::identity;
    std::uint8_t accepted = 1;  // encodings, as bits
    bool is_post = false;
    bool is_grpc = false;
    bool has_bad_timeout = false;
    bool head_too_large = false;
    bool has_trace_context = false;  // of W3C: a traceparent
    std::uint64_t begun_ns = 0;

    bool head_complete = false;
    bool half_closed = false;  // the client sends no more
    bool opened = false;
    bool handed_on = false;  // a message was
    bool told_half_close = false;
    bool in_trailers = false;  // a second head came: nothing in it is read
    bool touched = false;      // in the connection's list of what to look at
    bool gone = false;         // closed, by whomever
    bool counted = false;      // in progress, for the metrics

    // What the client sent.
    GrpcMessageReader reader;
    Block block;  // the message that comes is gathered at `block_offset` of it
    std::uint64_t block_offset = 0;
    GrpcFrameEvent fault = GrpcFrameEvent::need_input;
    std::uint32_t fault_bytes = 0;
    std::vector<GrpcMessage> waiting;
    std::size_t next_waiting = 0;
    std::uint64_t owed_bytes = 0;  // received, and not given back to the client's window
    std::uint64_t received_bytes = 0;
    std::uint64_t sent_bytes = 0;
    PaceWindow pace;

    // Who answers.
    std::uint64_t token = 0;  // in flight, 0: none
    nanobind::object input;   // a stream's StreamInput
    nanobind::object on_client_gone;
    nanobind::object on_writable;

    // The answer.
    ByteBuffer out;
    std::size_t out_at = 0;
    // An answer with large outputs is these pieces instead, of `out` and of the worker's block.
    std::vector<ResponseSegment> segments;
    std::size_t segment_index = 0;
    std::uint64_t segment_at = 0;
    std::shared_ptr<SharedBorrow> borrow;
    ResponseSegment sending{};       // goes out with the frame that the library made last
    std::uint64_t unsent_bytes = 0;  // of the answer
    GrpcEncoding answer_encoding = GrpcEncoding::identity;
    bool responded = false;  // the head is on its way
    bool deferred = false;   // the library waits for more to send
    bool ended = false;
    std::uint32_t status = 0;
    std::string status_message;
    std::string trailers;  // metadata behind the answer: pairs (header_pairs.hpp)

    bool has_waiting() const noexcept { return next_waiting < waiting.size(); }
    // As new; large memory is given back.
    void reset();
};

}  // namespace mpserve::bind
