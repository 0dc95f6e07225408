// `ModelInfer` in bytes: a common request goes into the arena and its answer comes out of it
// without a protobuf object; everything else is Python's.
//
// Guarantees: a request that was declined left nothing behind; one that was accepted is answered
// once
//   by its callback, unless it is cancelled by its token.
// Owner: one per frontend.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include <nanobind/nanobind.h>

#include "dispatcher.hpp"
#include "mpserve/proto_decode.hpp"
#include "mpserve/proto_encode.hpp"

namespace mpserve::bind {

class ProtoInfer {
public:
    ProtoInfer(nanobind::object dispatcher, nanobind::object on_failure, nanobind::object on_rare);

    // Token of the submitted request; 0 when Python has to read it.
    // `has_context`: the client has told which trace it belongs to.
    std::uint64_t submit(std::string_view message, nanobind::object callback, bool in_stream,
                         bool has_context, std::uint64_t deadline_ns);

    // A common request, in a block; nothing when Python has to read it.
    std::optional<Submission> prepare(std::string_view message, bool has_context);

    // As above, for a message at `offset` of a block, which is taken over when it was prepared.
    std::optional<Submission> prepare_in_place(const Block& block, std::uint64_t offset,
                                               std::uint64_t bytes, bool has_context);

    // What a callback gets: encoded bytes, or what `on_failure` or `on_rare` made.
    nanobind::object result_of(Answer& answer, bool in_stream = false);

    // False when Python has to write the answer, which is no failure.
    bool plan(const Answer& answer, bool in_stream = false);
    const ProtoInferEncoder& planned() const noexcept { return encoder_; }

    std::uint64_t requests_native = 0;
    std::array<std::uint64_t, kDecodeOutcomeCount> declined{};

private:
    std::optional<RouteRef> scan(std::string_view message, bool has_context);
    std::optional<Submission> finish(const RouteRef& route, const Block& block,
                                     DecodeOutcome outcome);
    std::nullopt_t decline(DecodeOutcome outcome) noexcept;

    nanobind::object dispatcher_owner_;
    Dispatcher& dispatcher_;
    nanobind::object on_failure_;
    nanobind::object on_rare_;
    ProtoInferDecoder decoder_;
    ProtoInferEncoder encoder_;
    MessageBuilder builder_;
    std::unique_ptr<SequenceMark> mark_;  // of what was scanned last
};

void bind_proto_infer(nanobind::module_& m);

}  // namespace mpserve::bind
