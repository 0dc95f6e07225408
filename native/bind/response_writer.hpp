// Copies the answer of a model into a block: one `memcpy` for each output.
//
// Use: `measure`, allocate a block of that size, `write`. Keep one writer and use it again: its
//   tables then allocate nothing.
// Guarantees: outputs that were not requested, or that an instance with declared outputs does not
//   declare, are left out (`InferenceRequest::wants_output`). An answer with an error has no
//   outputs.
// An output that the client wants in a region of its shared memory is written there, and nowhere
//   else; nothing is written for a client that has gone, whose memory may mean something else now.
// Assumes: the GIL is held; `write` follows `measure` with no Python code in between.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "inference_request.hpp"
#include "inference_response.hpp"
#include "mpserve/message.hpp"
#include "tensor.hpp"

namespace mpserve::bind {

class ResponseWriter {
public:
    // Chooses the outputs and returns the bytes the block must have. Throws `nb::python_error` or
    // `ModelException` when an output can not be put on the wire; the request is then failed.
    std::uint64_t measure(const InferenceRequest& request, const InferenceResponse& response);

    // Writes the finished message; false when `capacity` is less than what `measure` said.
    bool write(std::byte* base, std::uint64_t capacity, std::uint32_t message_flags);

private:
    struct Chosen {
        Tensor* tensor;
        std::uint64_t bytes;
        OutputView wanted;             // its place in a client's region, if it has one
        const TensorReshape* reshape;  // nullptr when clients know it by the model's shape
    };

    bool write_output(const Chosen& output);

    const InferenceRequest* request_ = nullptr;
    const InferenceResponse* response_ = nullptr;
    std::vector<Chosen> outputs_;
    std::vector<Text> parameters_;
    MessageBuilder builder_;
};

}  // namespace mpserve::bind
