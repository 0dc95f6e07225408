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
#include <string>

#include <nanobind/nanobind.h>

#include "dispatcher.hpp"
#include "mpserve/proto_decode.hpp"
#include "mpserve/proto_encode.hpp"

namespace mpserve::bind {

// What is to be known of the call that a request came by.
struct CallFacts {
    bool in_stream = false;    // its answer is a message of Triton's stream
    bool of_stream = false;    // it is one of a stream's, which the model may answer as a whole
    bool has_context = false;  // the client has told which trace it belongs to
    std::uint64_t deadline_ns = 0;  // not executed after that; 0: whenever
    std::string_view pairs{};       // its metadata (header_pairs.hpp), for a model that wants it
};

class ProtoInfer {
public:
    ProtoInfer(nanobind::object dispatcher, nanobind::object on_failure, nanobind::object on_rare,
               nanobind::object on_headers);

    // Token of the submitted request; 0 when Python has to read it.
    std::uint64_t submit(std::string_view message, nanobind::object callback,
                         const CallFacts& call);

    // A common request, in a block; nothing when Python has to read it.
    std::optional<Submission> prepare(std::string_view message, const CallFacts& call);

    // As above, for a message at `offset` of a block, which is taken over when it was prepared.
    std::optional<Submission> prepare_in_place(const Block& block, std::uint64_t offset,
                                               std::uint64_t bytes, const CallFacts& call);

    // What a callback gets: encoded bytes, or what `on_failure` or `on_rare` made.
    nanobind::object result_of(Answer& answer, bool in_stream = false);
    // The same, with the headers that the model wants with it.
    nanobind::object result_with_headers(Answer& answer, bool in_stream);

    // CloudEvents fields of requests as their models see them: pairs.
    void set_request_events(std::string pairs) noexcept { request_events_ = std::move(pairs); }

    // The same that all answers have; "" where answers are no events.
    void set_answer_events(std::string_view pairs);
    bool answers_are_events() const noexcept { return !answer_events_.empty(); }
    // Puts what is to stand behind an answer, as it stands there: the model's headers, and what
    // makes it an event.
    void append_metadata(const Answer& answer, std::string& pairs) const;

    // False when Python has to write the answer, which is no failure.
    bool plan(const Answer& answer, bool in_stream = false);
    const ProtoInferEncoder& planned() const noexcept { return encoder_; }

    std::uint64_t requests_native = 0;
    std::array<std::uint64_t, kDecodeOutcomeCount> declined{};

private:
    std::optional<RouteRef> scan(std::string_view message, const CallFacts& call);
    std::optional<Submission> finish(const RouteRef& route, const Block& block,
                                     DecodeOutcome outcome);
    bool write_pairs(const RouteRef& route, std::string_view pairs) noexcept;
    std::nullopt_t decline(DecodeOutcome outcome) noexcept;

    nanobind::object dispatcher_owner_;
    Dispatcher& dispatcher_;
    nanobind::object on_failure_;
    nanobind::object on_rare_;
    nanobind::object on_headers_;
    ProtoInferDecoder decoder_;
    ProtoInferEncoder encoder_;
    MessageBuilder builder_;
    std::unique_ptr<SequenceMark> mark_;  // of what was scanned last
    std::string request_events_;
    std::string answer_events_;  // as they stand in metadata
    std::string pairs_;
};

void bind_proto_infer(nanobind::module_& m);

}  // namespace mpserve::bind
