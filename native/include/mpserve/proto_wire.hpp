// The wire format of protobuf: tags, varints and length-delimited runs.
//
// Guarantees: a reader never reads past the end and refuses what no encoder writes (varints of more
//   than ten bytes, field number 0); a writer writes what its size function counts. No allocation.
// Source: protobuf "Encoding".
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace mpserve {

enum class ProtoWire : std::uint8_t { varint = 0, fixed64 = 1, delimited = 2, fixed32 = 5 };

struct ProtoTag {
    std::uint32_t field;
    ProtoWire wire;
};

class ProtoReader {
public:
    explicit ProtoReader(std::string_view bytes) noexcept
        : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

    bool at_end() const noexcept { return at_ == end_; }
    const char* at() const noexcept { return at_; }

    bool read_varint(std::uint64_t& out) noexcept {
        std::uint64_t value = 0;
        for (unsigned shift = 0; shift < 64 && at_ != end_; shift += 7) {
            const auto byte = static_cast<std::uint8_t>(*at_++);
            if (shift == 63 && byte > 1) return false;
            value |= std::uint64_t{byte & 0x7fu} << shift;
            if (byte < 0x80) {
                out = value;
                return true;
            }
        }
        return false;
    }
    bool read_tag(ProtoTag& out) noexcept {
        std::uint64_t value = 0;
        if (!read_varint(value) || value >> 3 == 0 || value >> 32 != 0) return false;
        out = {static_cast<std::uint32_t>(value >> 3), static_cast<ProtoWire>(value & 7)};
        return true;
    }
    bool read_delimited(std::string_view& out) noexcept {
        std::uint64_t bytes = 0;
        if (!read_varint(bytes) || bytes > static_cast<std::uint64_t>(end_ - at_)) return false;
        out = {at_, static_cast<std::size_t>(bytes)};
        at_ += bytes;
        return true;
    }

private:
    const char* at_;
    const char* end_;
};

constexpr std::size_t varint_bytes(std::uint64_t value) noexcept {
    return (static_cast<std::size_t>(std::bit_width(value | 1)) + 6) / 7;
}

// Bytes of a length-delimited field whose number is below 16.
constexpr std::size_t delimited_bytes(std::size_t content) noexcept {
    return 1 + varint_bytes(content) + content;
}

inline char* put_varint(char* at, std::uint64_t value) noexcept {
    while (value > 0x7f) {
        *at++ = static_cast<char>((value & 0x7f) | 0x80);
        value >>= 7;
    }
    *at++ = static_cast<char>(value);
    return at;
}

// Tag and length of a field below 16; its content follows.
inline char* put_delimited_head(char* at, std::uint32_t field, std::size_t content) noexcept {
    *at++ = static_cast<char>(field << 3 | static_cast<std::uint32_t>(ProtoWire::delimited));
    return put_varint(at, content);
}

inline char* put_delimited(char* at, std::uint32_t field, std::string_view content) noexcept {
    at = put_delimited_head(at, field, content.size());
    if (!content.empty()) std::memcpy(at, content.data(), content.size());
    return at + content.size();
}

}  // namespace mpserve
