// Entry points for fuzzers: each takes any bytes and aborts when a guarantee of the codec is
// broken.
//
// `codec_fuzz.cpp` drives them with mutations of the corpus; for libFuzzer, call one of them from
// LLVMFuzzerTestOneInput.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "codec_fixtures.hpp"
#include "mpserve/grpc_framing.hpp"
#include "mpserve/http_chunked.hpp"
#include "mpserve/http_head.hpp"
#include "mpserve/v2_decode.hpp"

namespace mpserve::fuzz {

inline void demand(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "broken: %s\n", what);
    std::abort();
}

// A head is judged alike whole and in pieces, and its texts lie within it.
inline void fuzz_head(const std::uint8_t* data, std::size_t size) {
    const std::string text(reinterpret_cast<const char*>(data), size);
    constexpr HeadLimits limits{.max_head_bytes = 2048, .max_fields = 40};
    HttpHead whole;
    const auto result = parse_head(text, whole, limits);
    HttpHead pieces;
    HeadResult last{};
    std::size_t step = 1;
    for (std::size_t bytes = 0; bytes <= size; bytes += step) {
        const std::string moved = text.substr(0, bytes);
        last = parse_head(moved, pieces, limits);
        if (last.status != HeadStatus::incomplete) break;
        step = 1 + (bytes * 7) % 13;
        if (bytes < size && bytes + step > size) step = size - bytes;
    }
    // Of a head that is too large the pieces may be refused for a fault further in, or the reverse.
    if (size <= limits.max_head_bytes) {
        demand(result.status == last.status, "a head in pieces is judged alike");
        demand(result.http_status == last.http_status, "a head in pieces has the same fault");
        demand(result.head_bytes == last.head_bytes, "a head in pieces ends at the same byte");
    }
    if (result.status == HeadStatus::bad) demand(result.http_status >= 400, "a fault has a status");
    if (result.status != HeadStatus::complete) return;
    demand(result.head_bytes <= size, "the head lies within the buffer");
    demand(!(whole.chunked && whole.has_content_length), "the framing is told in one way");
    for (std::size_t index = 0; index < whole.field_count(); ++index) {
        const auto value = whole.field_value(index);
        demand(value.find_first_of(std::string_view("\r\n\0", 3)) == value.npos,
               "values are clean");
        demand(value.data() + value.size() <= text.data() + result.head_bytes, "values lie within");
        demand(!whole.field_name(index).empty(), "fields have a name");
    }
}

struct Dechunked {
    std::string body;
    ChunkEvent event = ChunkEvent::need_input;
    std::size_t consumed = 0;
};

inline Dechunked dechunk(std::string_view text, std::size_t piece) {
    ChunkDecoder decoder;
    decoder.reset({.max_body_bytes = 4096, .max_chunks = 64, .max_trailer_bytes = 256});
    Dechunked result;
    while (result.event == ChunkEvent::need_input && result.consumed < text.size()) {
        auto input = text.substr(result.consumed, piece);
        const auto given = input.size();
        auto step = decoder.next(input);
        for (; step.event == ChunkEvent::data; step = decoder.next(input)) result.body += step.data;
        result.event = step.event;
        result.consumed += given - input.size();
    }
    return result;
}

inline void fuzz_chunked(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto whole = dechunk(text, SIZE_MAX);
    for (const std::size_t piece : {std::size_t{1}, std::size_t{2}, std::size_t{7}}) {
        const auto pieces = dechunk(text, piece);
        demand(pieces.event == whole.event, "a body in pieces is judged alike");
        demand(pieces.body == whole.body, "a body in pieces is the same");
        demand(pieces.consumed == whole.consumed, "a body in pieces ends at the same byte");
    }
    demand(whole.body.size() <= 4096, "the body is limited");
}

struct GrpcMessages {
    std::string messages;  // each with its flag and length
    GrpcFrameEvent event = GrpcFrameEvent::need_input;
    bool in_message = false;
};

inline GrpcMessages split_grpc(std::string_view text, std::size_t piece, bool in_place) {
    constexpr std::uint64_t kLimit = 512;
    GrpcMessageReader reader;
    reader.reset(kLimit);
    std::byte place[kLimit];
    GrpcMessages result;
    while (!text.empty()) {
        const std::string moved(text.substr(0, piece));
        text.remove_prefix(moved.size());
        std::string_view input(moved);
        for (bool more = true; more;) {
            const auto step = reader.next(input);
            more =
                step.event == GrpcFrameEvent::message || step.event == GrpcFrameEvent::body_starts;
            demand(!more || step.bytes <= kLimit, "messages keep the limit");
            if (step.event == GrpcFrameEvent::body_starts && in_place) reader.gather_into(place);
            if (step.event == GrpcFrameEvent::message) {
                demand(step.body.size() == step.bytes, "a message has the length of its prefix");
                result.messages += step.compressed ? 'c' : 'p';
                result.messages += std::to_string(step.bytes) + ':';
                result.messages += step.body;
            }
            if (step.event == GrpcFrameEvent::too_large || step.event == GrpcFrameEvent::bad_flag) {
                result.event = step.event;
            }
            more =
                step.event == GrpcFrameEvent::message || step.event == GrpcFrameEvent::body_starts;
        }
    }
    result.in_message = reader.in_message();
    return result;
}

inline void fuzz_grpc_messages(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto whole = split_grpc(text, SIZE_MAX, false);
    for (const std::size_t piece : {std::size_t{1}, std::size_t{3}, std::size_t{64}}) {
        const auto pieces = split_grpc(text, piece, piece != 3);
        demand(pieces.messages == whole.messages, "messages in pieces are the same");
        demand(pieces.event == whole.event, "messages in pieces are judged alike");
        demand(pieces.in_message == whole.in_message, "messages in pieces end alike");
    }
}

// The first byte chooses the options, the next two where the JSON ends.
inline void fuzz_decode(const std::uint8_t* data, std::size_t size) {
    if (size < 3) return;
    const std::string_view body(reinterpret_cast<const char*>(data) + 3, size - 3);
    const auto split = data[1] + 256u * data[2];
    const auto json = body.substr(0, split == 0 ? body.size() : split);
    const auto binary = body.substr(json.size());
    auto signature = fixtures::open_signature();
    if ((data[0] & 1) != 0) {
        signature.open_inputs = false;
        signature.inputs = {fixtures::spec("A", Datatype::invalid, {-1}),
                            fixtures::spec("B", Datatype::fp32, {-1, 2}, true)};
    }
    if ((data[0] & 2) != 0) signature.max_batch_size = 2;
    const DecodeOptions options{.keep_tensor_parameters = (data[0] & 4) != 0,
                                .reads_sequences = (data[0] & 8) != 0,
                                .regions = &fixtures::some_regions()};
    const auto copied = fixtures::decode(json, binary, signature, options);
    const auto in_place = fixtures::decode_in_place(json, binary, signature, options, data[0] >> 4);
    demand(copied.outcome == in_place.outcome, "both ways to the block judge alike");
    if (copied.outcome != DecodeOutcome::accepted) return;
    demand(copied.message != "does not open", "an accepted message opens");
    demand(copied.message == in_place.message, "both ways to the block give the same message");
    demand(copied.is_aligned && in_place.is_aligned, "tensors are aligned to their items");
    demand(copied.used <= copied.planned, "a message needs no more than planned");
    demand(in_place.planned <= decode_bound(json.size()), "a message needs no more than the bound");
}

// The first byte chooses the options.
inline void fuzz_proto(const std::uint8_t* data, std::size_t size) {
    if (size < 1) return;
    const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
    auto signature = fixtures::open_signature();
    if ((data[0] & 1) != 0) {
        signature.open_inputs = false;
        signature.inputs = {fixtures::spec("A", Datatype::invalid, {-1}),
                            fixtures::spec("R", Datatype::fp32, {-1, 2}, true)};
    }
    if ((data[0] & 2) != 0) signature.max_batch_size = 2;
    const auto* regions = (data[0] & 4) != 0 ? nullptr : &fixtures::some_regions();
    const auto copied = fixtures::decode_proto(body, signature, regions);
    const auto in_place = fixtures::decode_proto_in_place(body, signature, data[0] >> 4, regions);
    if (copied.outcome == DecodeOutcome::accepted) {
        demand(copied.message != "does not open", "an accepted message opens");
        demand(copied.is_aligned, "tensors are aligned to their items");
        demand(copied.used <= copied.planned, "a message needs no more than planned");
    }
    if (in_place.outcome != DecodeOutcome::accepted) return;
    demand(copied.message == in_place.message, "both ways to the block give the same message");
    demand(in_place.is_aligned, "tensors are aligned to their items in place");
    demand(in_place.used <= in_place.planned, "a message needs no more in place than planned");
}

}  // namespace mpserve::fuzz
