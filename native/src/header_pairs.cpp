#include "mpserve/header_pairs.hpp"

#include <algorithm>
#include <array>
#include <span>

#include "http_text.hpp"

namespace mpserve {

namespace {

using http_text::all_of_class;
using http_text::equals_ignoring_case;

constexpr std::size_t kMaxFieldBytes = 8 * 1024;  // clients take heads of 8 to 64 KiB

// How an answer is framed, and what it is, is the server's to say.
constexpr std::array<std::string_view, 10> kServersOwn = {
    "connection",   "content-encoding",  "content-length",
    "content-type", "keep-alive",        "inference-header-content-length",
    "trailer",      "transfer-encoding", "upgrade",
    "retry-after"};

constexpr std::array<std::string_view, 9> kEvent = {
    "ce-specversion", "ce-source",    "ce-type", "ce-modelid",  "ce-inferenceservicename",
    "ce-namespace",   "ce-requestid", "ce-id",   "ce-endpoint",
};

bool is_among(std::span<const std::string_view> names, std::string_view name) noexcept {
    return std::ranges::any_of(
        names, [name](std::string_view one) { return equals_ignoring_case(name, one); });
}

bool has_form(const HeaderPair& pair) noexcept {
    return !pair.name.empty() && pair.name.size() + pair.value.size() <= kMaxFieldBytes &&
           all_of_class(pair.name, http_text::kToken) &&
           (pair.value.empty() || all_of_class(pair.value, http_text::kValue));
}

bool is_reserved_for_grpc(std::string_view name) noexcept {
    constexpr std::string_view kReserved = "grpc-";
    constexpr auto is_name_byte = [](char byte) {
        return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
               (byte >= '0' && byte <= '9') || byte == '_' || byte == '-' || byte == '.';
    };
    return !std::ranges::all_of(name, is_name_byte) ||
           equals_ignoring_case(name.substr(0, kReserved.size()), kReserved) ||
           is_among(kServersOwn, name);
}

bool is_binary(std::string_view name) noexcept {
    return name.size() >= kBinaryName.size() &&
           equals_ignoring_case(name.substr(name.size() - kBinaryName.size()), kBinaryName);
}

bool is_base64(std::string_view text) noexcept {
    return std::ranges::all_of(text, [](char byte) {
        return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
               (byte >= '0' && byte <= '9') || byte == '+' || byte == '/' || byte == '=';
    });
}

// As it goes into the trailing metadata, where it may.
std::optional<HeaderPair> for_grpc(HeaderPair pair, bool is_event) noexcept {
    const bool is_marked = !pair.value.empty() && pair.value.front() == kBinaryValue;
    if (is_marked) pair.value.remove_prefix(1);
    if (is_marked != is_binary(pair.name) || (is_marked && !is_base64(pair.value))) return {};
    constexpr auto is_text = [](char byte) { return byte >= ' ' && byte < 0x7f; };
    if (!has_form(pair) || is_reserved_for_grpc(pair.name) ||
        (is_event && is_among(kEvent, pair.name)) || !std::ranges::all_of(pair.value, is_text)) {
        return {};
    }
    return pair;
}

}  // namespace

void append_lowered(std::string& out, const HeaderPair& pair) {
    const auto begin = out.size();
    append_pair(out, pair.name, pair.value);
    const auto name = std::span(out).subspan(begin, pair.name.size());
    std::ranges::transform(name, name.begin(), [](char byte) {
        return byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte | 0x20) : byte;
    });
}

bool is_for_http(const HeaderPair& pair, bool is_event) noexcept {
    return has_form(pair) && !is_among(kServersOwn, pair.name) &&
           !(is_event && is_among(kEvent, pair.name));
}

void append_for_grpc(std::string& out, std::string_view pairs, bool is_event) {
    HeaderPairs all(pairs);
    while (const auto pair = all.next()) {
        if (const auto fitting = for_grpc(*pair, is_event)) append_lowered(out, *fitting);
    }
}

}  // namespace mpserve
