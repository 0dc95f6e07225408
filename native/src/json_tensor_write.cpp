#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "mpserve/byte_scan.hpp"
#include "mpserve/json_number.hpp"
#include "mpserve/json_tensor.hpp"
#include "mpserve/utf8.hpp"

namespace mpserve {

namespace {

constexpr std::uint64_t kElementsPerGrow = 256;  // room is asked for once for so many

// One byte; any but zero is true.
struct Boolean {
    std::uint8_t value;
};

// Binary16: 1 sign bit, 5 exponent bits, 10 fraction bits.
struct HalfFloat {
    std::uint16_t bits;

    double value() const noexcept {
        const int exponent = bits >> 10 & 0x1f;
        const int fraction = bits & 0x3ff;
        double magnitude = 0;
        if (exponent == 0x1f) {
            magnitude = fraction == 0 ? HUGE_VAL : std::nan("");
        } else if (exponent == 0) {
            magnitude = std::ldexp(fraction, -24);
        } else {
            magnitude = std::ldexp(fraction + 0x400, exponent - 25);
        }
        return (bits & 0x8000) != 0 ? -magnitude : magnitude;
    }
};

char* put(char* at, std::string_view text) noexcept {
    std::memcpy(at, text.data(), text.size());
    return at + text.size();
}

char* write_float(char* at, double value, const FloatForm& form) noexcept {
    if (std::isfinite(value)) return write_double(at, value);
    if (std::isnan(value)) return put(at, form.nan);
    return put(at, value > 0 ? form.infinity : form.negative_infinity);
}

template <typename Element>
char* write_element(char* at, Element element, const FloatForm& form) noexcept {
    if constexpr (std::is_same_v<Element, Boolean>) {
        return put(at, element.value == 0 ? "false" : "true");
    } else if constexpr (std::is_same_v<Element, HalfFloat>) {
        return write_float(at, element.value(), form);
    } else if constexpr (std::is_floating_point_v<Element>) {
        return write_float(at, static_cast<double>(element), form);
    } else if constexpr (std::is_signed_v<Element>) {
        return write_integer(at, static_cast<std::int64_t>(element));
    } else {
        return write_integer(at, static_cast<std::uint64_t>(element));
    }
}

// `data` is read at any alignment: in a block of a request it lies where the client put it.
template <typename Element>
void write_elements(const TensorView& tensor, const FloatForm& form, ByteBuffer& out) {
    constexpr std::size_t kMaxChars = std::max(kMaxDoubleChars, kMaxIntegerChars);
    const auto* data = tensor.data;
    auto left = tensor.data_bytes / sizeof(Element);
    out.push_back('[');
    while (left > 0) {
        const auto run = std::min(left, kElementsPerGrow);
        char* at = out.grow(static_cast<std::size_t>(run) * (kMaxChars + 1));
        for (std::uint64_t index = 0; index < run; ++index) {
            Element element;
            std::memcpy(&element, data, sizeof element);
            at = write_element(at, element, form);
            *at++ = ',';
            data += sizeof(Element);
        }
        out.commit_to(at);
        left -= run;
    }
    if (tensor.data_bytes != 0) out.truncate(out.size() - 1);  // the last comma
    out.push_back(']');
}

TensorTextOutcome write_strings(const TensorView& tensor, ByteBuffer& out) {
    const auto elements = element_count(tensor.shape);
    if (!elements || !is_valid_bytes_tensor(tensor.data, tensor.data_bytes, *elements)) {
        return TensorTextOutcome::malformed;
    }
    out.push_back('[');
    const auto* at = reinterpret_cast<const char*>(tensor.data);
    for (std::uint64_t index = 0; index < *elements; ++index) {
        std::uint32_t length = 0;
        std::memcpy(&length, at, sizeof length);
        const std::string_view text{at + sizeof length, length};
        if (!is_utf8(text)) return TensorTextOutcome::not_utf8;
        if (index > 0) out.push_back(',');
        write_json_string(text, out);
        at += sizeof length + length;
    }
    out.push_back(']');
    return TensorTextOutcome::written;
}

char* write_escape(char* at, char byte) noexcept {
    *at++ = '\\';
    switch (byte) {
        case '"': *at++ = '"'; return at;
        case '\\': *at++ = '\\'; return at;
        case '\b': *at++ = 'b'; return at;
        case '\f': *at++ = 'f'; return at;
        case '\n': *at++ = 'n'; return at;
        case '\r': *at++ = 'r'; return at;
        case '\t': *at++ = 't'; return at;
        default: break;
    }
    constexpr char kHex[] = "0123456789ABCDEF";
    const auto code = static_cast<unsigned char>(byte);
    std::memcpy(at, "u00", 3);
    at[3] = kHex[code >> 4];
    at[4] = kHex[code & 0xf];
    return at + 5;
}

}  // namespace

void write_json_string(std::string_view text, ByteBuffer& out) {
    // Plain text is the rule: room for it, then more for each byte that has to be escaped.
    char* to = out.grow(text.size() + 2);
    *to++ = '"';
    out.commit_to(to);
    const char* at = text.data();
    const char* const end = at + text.size();
    while (at < end) {
        const char* stop = find_string_break(at, end);
        while (stop < end && static_cast<unsigned char>(*stop) >= 0x80) {
            stop = find_string_break(stop + 1, end);
        }
        const auto plain = static_cast<std::size_t>(stop - at);
        to = out.grow(plain + 8);
        std::memcpy(to, at, plain);
        to += plain;
        at = stop;
        if (at < end) to = write_escape(to, *at++);
        out.commit_to(to);
    }
    out.push_back('"');
}

TensorTextOutcome write_json_array(const TensorView& tensor, const FloatForm& form,
                                   ByteBuffer& out) {
    switch (tensor.datatype) {
        case Datatype::boolean: write_elements<Boolean>(tensor, form, out); break;
        case Datatype::uint8: write_elements<std::uint8_t>(tensor, form, out); break;
        case Datatype::uint16: write_elements<std::uint16_t>(tensor, form, out); break;
        case Datatype::uint32: write_elements<std::uint32_t>(tensor, form, out); break;
        case Datatype::uint64: write_elements<std::uint64_t>(tensor, form, out); break;
        case Datatype::int8: write_elements<std::int8_t>(tensor, form, out); break;
        case Datatype::int16: write_elements<std::int16_t>(tensor, form, out); break;
        case Datatype::int32: write_elements<std::int32_t>(tensor, form, out); break;
        case Datatype::int64: write_elements<std::int64_t>(tensor, form, out); break;
        case Datatype::fp32: write_elements<float>(tensor, form, out); break;
        case Datatype::fp64: write_elements<double>(tensor, form, out); break;
        case Datatype::fp16:
            if (!form.half_precision) return TensorTextOutcome::half_float;
            write_elements<HalfFloat>(tensor, form, out);
            break;
        case Datatype::bytes: return write_strings(tensor, out);
        default: return TensorTextOutcome::half_float;
    }
    return TensorTextOutcome::written;
}

}  // namespace mpserve
