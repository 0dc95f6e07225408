// Headers of a request or an answer as one text: name NUL value NUL, for each.
//
// Guarantees: what `is_for_http` and `append_for_grpc` let through can neither end a field early
// nor
//   change how an answer is framed, whatever a model gave.
// Source: RFC 9110 sections 5.1, 5.5; gRPC over HTTP/2, "Custom-Metadata".
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace mpserve {

// Begins the value of binary metadata of gRPC, which is base64 behind it: no field's text does.
inline constexpr char kBinaryValue = '\x01';
inline constexpr std::string_view kBinaryName = "-bin";  // ends the names of such metadata

struct HeaderPair {
    std::string_view name;
    std::string_view value;
};

// Reads such a text, from front to back; one that is cut off ends where it is.
class HeaderPairs {
public:
    explicit HeaderPairs(std::string_view text) noexcept : rest_(text) {}

    std::optional<HeaderPair> next() noexcept {
        if (rest_.empty()) return std::nullopt;
        const auto name = take();
        return HeaderPair{name, take()};
    }

private:
    std::string_view take() noexcept {
        const auto end = rest_.find('\0');
        const auto text = rest_.substr(0, end);
        rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
        return text;
    }
    std::string_view rest_;
};

// `Buffer` has `append(std::string_view)` and `push_back(char)`.
template <typename Buffer>
void append_pair(Buffer& out, std::string_view name, std::string_view value) {
    out.append(name);
    out.push_back('\0');
    out.append(value);
    out.push_back('\0');
}

// As `append_pair`, the name in lower case, as HTTP/2 has names.
void append_lowered(std::string& out, const HeaderPair& pair);

// Whether a model may put this field into the head of an answer. `is_event`: the answer has
// CloudEvents fields of the server's, which stay.
bool is_for_http(const HeaderPair& pair, bool is_event) noexcept;

// Appends those of a model's `pairs` that may stand in the trailing metadata of a call, as they do.
void append_for_grpc(std::string& out, std::string_view pairs, bool is_event);

}  // namespace mpserve
