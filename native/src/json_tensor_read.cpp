#include <cmath>
#include <cstring>

#include "mpserve/json_number.hpp"
#include "mpserve/json_scanner.hpp"
#include "mpserve/json_tensor.hpp"

namespace mpserve {

namespace {

const char* skip_blanks(const char* at) noexcept {
    while (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r') ++at;
    return at;
}

// Walks a flat or nested array and calls `read_element(at)` for each leaf, which gives the byte
// behind the leaf or nullptr. All leaves must lie equally deep.
//
// No end of text is asked for: the text is balanced as `jump_over_array` sees it, which this sees
// alike up to the first thing that is wrong, so the bracket that ends the walk is the text's last.
template <typename ReadElement>
DecodeOutcome walk_array(std::string_view text, std::uint64_t elements, int max_nesting,
                         ReadElement&& read_element) noexcept {
    const char* at = text.data();
    std::uint64_t count = 0;
    int depth = 0;
    int leaf_depth = 0;
    while (true) {
        // On an opening bracket.
        if (++depth > max_nesting) return DecodeOutcome::limit;
        at = skip_blanks(at + 1);
        if (*at == '[' && depth != leaf_depth) continue;
        if (leaf_depth == 0) leaf_depth = depth;
        if (depth != leaf_depth) return DecodeOutcome::structure;
        if (*at != ']') {
            while (true) {
                if (count == elements) return DecodeOutcome::count;
                at = read_element(at);
                if (at == nullptr) return DecodeOutcome::element;
                ++count;
                if (static_cast<unsigned char>(*at) <= ' ') at = skip_blanks(at);
                if (*at != ',') break;
                ++at;
                if (static_cast<unsigned char>(*at) <= ' ') at = skip_blanks(at);
            }
            if (*at != ']') return DecodeOutcome::json;
        }
        // On a closing bracket: up, until a comma leads to the next array.
        do {
            ++at;
            if (--depth == 0) {
                const bool is_whole = at == text.data() + text.size();
                if (!is_whole) return DecodeOutcome::json;
                return count == elements ? DecodeOutcome::accepted : DecodeOutcome::count;
            }
            at = skip_blanks(at);
        } while (*at == ']');
        if (*at != ',') return DecodeOutcome::json;
        at = skip_blanks(at + 1);
        if (*at != '[') return DecodeOutcome::structure;
    }
}

template <typename Element>
const char* read_element_of(const char* at, const char* end, Element& out) noexcept {
    if constexpr (std::is_same_v<Element, bool>) {
        if (end - at > 4 && std::memcmp(at, "true", 4) == 0) {
            out = true;
            return at + 4;
        }
        if (end - at > 5 && std::memcmp(at, "false", 5) == 0) {
            out = false;
            return at + 5;
        }
        return nullptr;
    } else if constexpr (std::is_floating_point_v<Element>) {
        double value = 0;
        bool is_integer_literal = false;
        const char* behind = read_double(at, end, value, is_integer_literal);
        out = static_cast<Element>(value);
        return behind == nullptr || !std::isfinite(out) ? nullptr : behind;
    } else {
        return read_integer(at, end, out);
    }
}

template <typename Element>
DecodeOutcome read_elements(std::string_view text, std::uint64_t elements, int max_nesting,
                            std::byte* out) noexcept {
    const char* const end = text.data() + text.size();
    return walk_array(text, elements, max_nesting, [end, &out](const char* at) noexcept {
        Element element{};
        const char* behind = read_element_of(at, end, element);
        std::memcpy(out, &element, sizeof element);
        out += sizeof element;
        return behind;
    });
}

}  // namespace

DecodeOutcome read_json_array(std::string_view text, Datatype datatype, std::uint64_t elements,
                              int max_nesting, std::byte* out) noexcept {
    switch (datatype) {
        case Datatype::boolean: return read_elements<bool>(text, elements, max_nesting, out);
        case Datatype::uint8: return read_elements<std::uint8_t>(text, elements, max_nesting, out);
        case Datatype::uint16:
            return read_elements<std::uint16_t>(text, elements, max_nesting, out);
        case Datatype::uint32:
            return read_elements<std::uint32_t>(text, elements, max_nesting, out);
        case Datatype::uint64:
            return read_elements<std::uint64_t>(text, elements, max_nesting, out);
        case Datatype::int8: return read_elements<std::int8_t>(text, elements, max_nesting, out);
        case Datatype::int16: return read_elements<std::int16_t>(text, elements, max_nesting, out);
        case Datatype::int32: return read_elements<std::int32_t>(text, elements, max_nesting, out);
        case Datatype::int64: return read_elements<std::int64_t>(text, elements, max_nesting, out);
        case Datatype::fp32: return read_elements<float>(text, elements, max_nesting, out);
        case Datatype::fp64: return read_elements<double>(text, elements, max_nesting, out);
        default: return DecodeOutcome::datatype;
    }
}

DecodeOutcome read_json_strings(std::string_view text, std::uint64_t elements, int max_nesting,
                                std::byte* out, std::uint64_t capacity,
                                std::uint64_t& used) noexcept {
    const char* const end = text.data() + text.size();
    std::uint64_t written = 0;
    bool has_room = true;
    const auto outcome =
        walk_array(text, elements, max_nesting, [&](const char* at) noexcept -> const char* {
            JsonString string;
            if (*at != '"') return nullptr;
            const char* behind = read_json_string(at, end, string);
            if (behind == nullptr || string.raw.size() > UINT32_MAX) return nullptr;
            // Escapes only shrink, so the raw size is what the element needs at most.
            if (string.raw.size() + sizeof(std::uint32_t) > capacity - written) {
                has_room = false;
                return nullptr;
            }
            auto* const bytes = reinterpret_cast<char*>(out + written + sizeof(std::uint32_t));
            auto length = static_cast<std::uint32_t>(string.raw.size());
            if (string.escaped) {
                length = static_cast<std::uint32_t>(unescape(string.raw, bytes) - bytes);
            } else if (length != 0) {
                std::memcpy(bytes, string.raw.data(), length);
            }
            std::memcpy(out + written, &length, sizeof length);
            written += sizeof length + length;
            return behind;
        });
    used = written;
    return has_room ? outcome : DecodeOutcome::room;
}

bool is_valid_bytes_tensor(const std::byte* data, std::uint64_t bytes,
                           std::uint64_t elements) noexcept {
    std::uint64_t at = 0;
    for (; elements > 0; --elements) {
        std::uint32_t length = 0;
        if (bytes - at < sizeof length) return false;
        std::memcpy(&length, data + at, sizeof length);
        at += sizeof length;
        if (bytes - at < length) return false;
        at += length;
    }
    return at == bytes;
}

}  // namespace mpserve
