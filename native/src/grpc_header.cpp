#include "mpserve/grpc_header.hpp"

namespace mpserve {

namespace {

constexpr std::size_t kMaxTimeoutDigits = 8;
constexpr std::uint64_t kLongestNs = std::uint64_t{1} << 62;  // may be added to a clock
constexpr std::string_view kContentType = "application/grpc";

std::string_view without_spaces(std::string_view text) noexcept {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    return text;
}

std::uint64_t unit_ns(char unit) noexcept {
    constexpr std::uint64_t kSecond = 1'000'000'000;
    switch (unit) {
        case 'H': return 3600 * kSecond;
        case 'M': return 60 * kSecond;
        case 'S': return kSecond;
        case 'm': return 1'000'000;
        case 'u': return 1'000;
        case 'n': return 1;
        default: return 0;
    }
}

}  // namespace

GrpcEncoding grpc_encoding(std::string_view word) noexcept {
    if (word.empty() || word == "identity") return GrpcEncoding::identity;
    if (word == "gzip") return GrpcEncoding::gzip;
    if (word == "deflate") return GrpcEncoding::deflate;
    return GrpcEncoding::unknown;
}

std::uint8_t grpc_encodings(std::string_view list) noexcept {
    auto set = std::uint8_t{1};
    while (!list.empty()) {
        const auto comma = list.find(',');
        const auto encoding = grpc_encoding(without_spaces(list.substr(0, comma)));
        if (encoding != GrpcEncoding::unknown) {
            set = static_cast<std::uint8_t>(set | 1u << static_cast<unsigned>(encoding));
        }
        if (comma == std::string_view::npos) break;
        list.remove_prefix(comma + 1);
    }
    return set;
}

std::optional<std::uint64_t> grpc_timeout_ns(std::string_view text) noexcept {
    if (text.size() < 2 || text.size() > kMaxTimeoutDigits + 1) return std::nullopt;
    const auto unit = unit_ns(text.back());
    if (unit == 0) return std::nullopt;
    std::uint64_t number = 0;
    for (const char digit : text.substr(0, text.size() - 1)) {
        if (digit < '0' || digit > '9') return std::nullopt;
        number = number * 10 + static_cast<std::uint64_t>(digit - '0');
    }
    return number > kLongestNs / unit ? kLongestNs : number * unit;
}

bool is_grpc_content_type(std::string_view text) noexcept {
    if (!text.starts_with(kContentType)) return false;
    const auto rest = text.substr(kContentType.size());
    return rest.empty() || rest.front() == '+' || rest.front() == ';';
}

std::string percent_encode(std::string_view message) {
    constexpr char kHex[] = "0123456789ABCDEF";
    std::string encoded;
    encoded.reserve(message.size());
    for (const char letter : message) {
        const auto byte = static_cast<unsigned char>(letter);
        if (byte >= 0x20 && byte <= 0x7e && byte != '%') {
            encoded.push_back(letter);
            continue;
        }
        encoded.push_back('%');
        encoded.push_back(kHex[byte >> 4]);
        encoded.push_back(kHex[byte & 15]);
    }
    return encoded;
}

}  // namespace mpserve
