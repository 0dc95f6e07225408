// One inference request as a model sees it: received (a view of a block) or made by the model
// (BLS).
//
// Owner: Python. A received request holds a lease of its block; so does each of its tensors.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nanobind/nanobind.h>

#include "instance_context.hpp"
#include "mpserve/message.hpp"
#include "request_lease.hpp"

namespace mpserve::bind {

// What a request that a model made holds, having no block.
struct OwnedRequest {
    std::string request_id;
    std::uint64_t sequence_id = 0;
    std::string sequence_text;
    std::string parameters;
    std::vector<std::string> requested_output_names;
    std::string model_name;
    std::int64_t model_version = -1;
    std::uint64_t timeout_us = 0;
    std::string trace_context;
};

class InferenceRequest {
public:
    // Received: `view` lies in the block that `lease` holds.
    InferenceRequest(LeaseRef lease, const MessageView& view,
                     std::shared_ptr<const InstanceContext> context) noexcept;
    // Fills a row of a batch whose sequence has no request: its inputs look like those of `view`,
    // but its controls say that it is not ready, it is nobody's, and nobody gets its answer.
    static InferenceRequest row_filler(LeaseRef lease, const MessageView& view,
                                       std::shared_ptr<const InstanceContext> context) noexcept;
    // Made by the model. `inputs` is a list of Tensor objects.
    InferenceRequest(OwnedRequest owned, nanobind::list inputs, std::uint32_t flags);

    // nullptr for a request that the model made, and for a row filler.
    RequestLease* lease() const noexcept { return is_filler_ ? nullptr : lease_.get(); }
    bool is_filler() const noexcept { return is_filler_; }
    const MessageView* view() const noexcept { return view_ ? &*view_ : nullptr; }
    const InstanceContext* context() const noexcept { return context_.get(); }
    const OwnedRequest* owned() const noexcept { return owned_.get(); }

    std::string_view request_id() const noexcept;
    std::string_view parameters() const noexcept;
    std::string_view output_parameters(std::string_view output_name) const noexcept;
    std::uint32_t flags() const noexcept { return flags_; }
    void set_flags(std::uint32_t flags) noexcept { flags_ = flags; }
    std::uint64_t timeout_us() const noexcept;

    // The model wants to be given the request once more, instead of answering it now.
    bool is_rescheduled() const noexcept { return rescheduled_; }
    void reschedule(bool wanted) noexcept { rescheduled_ = wanted; }
    // It is given once more: what the model said of the last time holds no longer.
    void begin_again() noexcept {
        rescheduled_ = false;
        flags_ = 0;  // it neither starts nor ends its sequence
    }

    // Whether an output of this name goes into the answer.
    bool wants_output(std::string_view output_name) const noexcept;

    // Where an output of this name goes in a client's region; `region` is 0 when it goes nowhere.
    OutputView region_of(std::string_view output_name) const noexcept;

    // The tensors, made on first use: a list of Tensor objects that the caller must not change.
    nanobind::list inputs();
    // Adds an input that the client did not send, in the place of one of its name.
    void put_input(nanobind::object tensor);

    // Called with each answer that the sender of a decoupled model's request sends, before it.
    void watch_answers(nanobind::object watcher) { watcher_ = std::move(watcher); }
    const nanobind::object& watcher() const noexcept { return watcher_; }

    // Takes an answer that the model gives through the response sender instead of `execute`'s
    // return; `response` may be null. Throws `ModelException` when the order of calls does not
    // allow it.
    void send(nanobind::object response, std::uint32_t response_flags);
    // The answer given so, or null.
    const nanobind::object& sent_response() const noexcept { return sent_response_; }

private:
    LeaseRef lease_;
    std::optional<MessageView> view_;
    std::shared_ptr<const InstanceContext> context_;
    std::unique_ptr<OwnedRequest> owned_;
    nanobind::object inputs_;         // null until asked for
    nanobind::object sent_response_;  // null until sent
    nanobind::object watcher_;        // null for none
    bool sender_closed_ = false;
    bool rescheduled_ = false;
    bool is_filler_ = false;
    std::uint32_t flags_ = 0;
};

// Makes the Python object of a popped request.
nanobind::object make_request(LeaseRef lease, const MessageView& view,
                              std::shared_ptr<const InstanceContext> context);
nanobind::object make_row_filler(LeaseRef lease, const MessageView& view,
                                 std::shared_ptr<const InstanceContext> context);

void bind_inference_request(nanobind::module_& m);

}  // namespace mpserve::bind
