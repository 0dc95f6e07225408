// Response message → `ModelInferResponse` (protobuf) with raw outputs, in a buffer of known size.
//
// Two passes: `plan` counts, `write` writes, so that the caller gives the memory that is sent and
// each output is copied once, out of the response's block.
//
// Guarantees: `write` writes exactly `bytes()`; texts are those of an opened MessageView.
// Assumes: the response and the context's texts stay as they are from `plan` to `write`.
// Owner: one ProtoInferEncoder per thread, reused.
// Source: triton.md 4.3 and 4.6. Fields stand in the order of their numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "mpserve/byte_buffer.hpp"
#include "mpserve/message.hpp"
#include "mpserve/v2_encode.hpp"

namespace mpserve {

struct ProtoEncodeContext {
    std::string_view model_name;
    std::string_view model_version;
    std::string_view id;
    // The answer, told to be the last, as the `infer_response` of a `ModelStreamInferResponse`.
    bool in_stream = false;
};

class ProtoInferEncoder {
public:
    // False when the response has what only the Python codec writes: a parameter that is no plain
    // text, number or boolean.
    bool plan(const MessageView& response, const ProtoEncodeContext& context);
    std::size_t bytes() const noexcept { return wrapper_bytes() + bytes_; }
    void write(char* out) const noexcept;
    // As `write`, behind what stands in `out`; outputs of at least `lend_from` bytes are not
    // copied: the segments say what is sent in which order.
    void write_lending(ByteBuffer& out, std::vector<ResponseSegment>& segments,
                       std::uint64_t lend_from) const;
    // Whether any output has so many bytes.
    bool has_output_of(std::uint64_t bytes) const noexcept;

private:
    char* write_before_outputs(char* at) const noexcept;
    std::size_t wrapper_bytes() const noexcept;

    // A member of a JSON object as a map entry: key and encoded InferParameter.
    struct Parameter {
        std::string_view key;
        std::string_view text;     // of a string
        std::uint64_t number = 0;  // of the others, as a varint or as the bits of a double
        std::uint32_t field = 0;   // of InferParameter

        std::size_t value_bytes() const noexcept;
        std::size_t entry_bytes() const noexcept;
        char* write(char* at) const noexcept;
    };

    bool add_parameters(std::string_view object);
    std::size_t output_bytes(std::uint32_t index) const noexcept;
    char* write_output(char* at, std::uint32_t index) const noexcept;
    char* write_parameters(char* at, std::size_t first, std::size_t behind) const noexcept;

    const MessageView* response_ = nullptr;
    ProtoEncodeContext context_;
    std::size_t bytes_ = 0;
    std::vector<Parameter> parameters_;        // of the response, then of each output
    std::vector<std::size_t> parameters_end_;  // of the response, then of each output
};

}  // namespace mpserve
