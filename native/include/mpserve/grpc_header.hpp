// Values of gRPC's own header fields: timeouts, encodings, status messages.
//
// Source: "gRPC over HTTP2", sections Requests and Responses.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mpserve {

// Codings of messages that can be read and written; the order is that of Python's names for them.
enum class GrpcEncoding : std::uint8_t { identity, gzip, deflate, unknown };

GrpcEncoding grpc_encoding(std::string_view word) noexcept;

// Set of encodings as bits `1 << encoding`, out of a list with commas. Identity is always in it.
std::uint8_t grpc_encodings(std::string_view list) noexcept;

// `grpc-timeout` in nanoseconds: at most eight digits and a unit; nothing when it is neither.
std::optional<std::uint64_t> grpc_timeout_ns(std::string_view text) noexcept;

// Whether a content type is gRPC's.
bool is_grpc_content_type(std::string_view text) noexcept;

// A status message as it may stand in a header: printable ASCII, the rest as %XX.
std::string percent_encode(std::string_view message);

}  // namespace mpserve
