// Answers a batch: one response or error for each request, into the rings of those who asked.

#include "instance_port.hpp"

#include <algorithm>

#include "inference_request.hpp"
#include "inference_response.hpp"
#include "model_exception.hpp"
#include "mpserve/wake.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

constexpr std::uint64_t kTurnNs = 1'000'000'000;  // until it is looked again whose turn it is

// What takes more than four seconds is told as four seconds.
std::uint32_t short_ns(std::uint64_t duration_ns) noexcept {
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(duration_ns, UINT32_MAX));
}

void empty(nb::list& list) {
    if (PyList_SetSlice(list.ptr(), 0, PY_SSIZE_T_MAX, nullptr) != 0) throw nb::python_error();
}

}  // namespace

bool InstancePort::reserve(Active& active, std::uint64_t bytes, Block& block) {
    block = arena_.allocate(bytes);
    if (!block) return false;
    active.completion.block = block.ref;
    return true;
}

void InstancePort::put_error(Active& active, Status status, std::string_view message) {
    auto& completion = active.completion;
    completion.status = static_cast<std::uint16_t>(status);
    completion.block = 0;
    Block block;
    const auto bytes = sizeof(MessageHeader) + message.size() + 64;
    if (!reserve(active, bytes, block)) return;  // the status alone must do
    MessageBuilder builder;
    builder.begin(block.data, block.bytes, block.bytes, MessageKind::response);
    builder.header().status = completion.status;
    builder.header().flags = kFinalResponse;
    if (!builder.append_text(message, builder.header().error) || !builder.finish()) {
        arena_.release(block.ref);
        completion.block = 0;
        return;
    }
    completion.block_bytes = builder.used();
}

void InstancePort::put_answer(Active& active, nb::handle request, nb::handle response) {
    const auto& answered = *nb::inst_ptr<InferenceRequest>(request);
    Block block;
    try {
        const auto& given = nb::cast<const InferenceResponse&>(response);
        const auto bytes = writer_.measure(answered, given);
        if (!reserve(active, bytes, block)) {
            put_error(active, Status::exhausted, arena_.refusal(bytes, "the answer"));
            return;
        }
        if (!writer_.write(block.data, block.bytes, kFinalResponse)) {
            throw ModelException("the answer changed while it was written");
        }
        if (!active.lease->regions_are_intact()) throw ModelException(kRegionCut);
    } catch (const std::exception& error) {
        if (block) arena_.release(block.ref);
        put_error(active, Status::model_failed, error.what());
        return;
    }
    const auto& header = *reinterpret_cast<const MessageHeader*>(block.data);
    active.completion.status = static_cast<std::uint16_t>(header.status);
    active.completion.block_bytes = header.total_bytes;
}

void InstancePort::complete(nb::list requests, nb::list responses) {
    if (nb::len(requests) != active_.size() || nb::len(responses) != active_.size()) {
        throw nb::value_error("complete: one response for each request of the batch is needed");
    }
    const auto executed_ns = now_ns();
    for (std::size_t index = 0; index < active_.size(); ++index) {
        if (!active_[index].lease) continue;
        put_answer(active_[index], requests[index], responses[index]);
    }
    // What the model did not keep ends here: large outputs, and views of inputs.
    empty(responses);
    finish_batch(requests, executed_ns);
}

void InstancePort::fail(nb::list requests, std::uint32_t code, std::string_view message) {
    const auto status =
        code == 0 || code >= kStatusCount ? Status::internal : static_cast<Status>(code);
    const auto executed_ns = now_ns();
    forget_fillers();
    if (decoupled_) {
        for (const auto& active : active_) {
            auto& lease = *static_cast<PoppedLease*>(active.lease.get());
            if (!lease.is_closed()) send_error(lease, status, message);
        }
        detach(std::move(requests));
        return;
    }
    for (auto& active : active_) put_error(active, status, message);
    finish_batch(requests, executed_ns);
}

// Whoever took requests before these answers them first; when it dies, the reaper does.
void InstancePort::wait_for_turn() noexcept {
    const nb::gil_scoped_release unlocked;
    std::uint32_t seen = 0;
    while (!queue_.may_answer(instance_, seen)) {
        futex_wait(queue_.wake_word(instance_), seen, kTurnNs);
    }
}

void InstancePort::finish_batch(nb::list& requests, std::uint64_t executed_ns) {
    // Request objects that the model did not keep end here, and their leases with them.
    empty(requests);
    forget_fillers();
    count_batch(executed_ns);
    if (ordered_) wait_for_turn();
    const auto output_ns = now_ns() - executed_ns;
    answers_.begin_batch();
    for (auto& active : active_) settle(active, executed_ns, output_ns);
    answers_.end_batch();
    active_.clear();
}

void InstancePort::settle(Active& active, std::uint64_t executed_ns, std::uint64_t output_ns) {
    auto* lease = static_cast<PoppedLease*>(active.lease.get());
    const auto& request = lease->popped();
    auto& completion = active.completion;
    const bool still_used = lease->use_count() > 1;
    completion.token = request.request.token;
    completion.frontend_epoch = request.frontend_epoch;
    completion.worker_index = process_;
    completion.worker_epoch = epoch_;
    completion.flags = still_used ? kInputsLeased : std::uint16_t{0};
    completion.popped_ns = request.popped_ns;
    completion.input_ns = short_ns(started_ns_ - std::min(started_ns_, request.popped_ns));
    completion.execute_ns = executed_ns - std::min(executed_ns, started_ns_);
    completion.output_ns = short_ns(output_ns);
    lease->settle(still_used);
    if (!board_.is_current(request.frontend, request.frontend_epoch)) {
        if (completion.block != 0) arena_.release(completion.block);
    } else {
        if (completion.block != 0) {
            arena_.lend(completion.block, request.frontend, request.frontend_epoch);
        }
        answers_.push(request, completion);
    }
    done_.push_back(request.slot);
}

void InstancePort::refuse(Active& active, Status status, std::string_view message) {
    if (decoupled_) {
        send_error(*static_cast<PoppedLease*>(active.lease.get()), status, message);
        return;
    }
    put_error(active, status, message);
    count(queue_.counters(instance_).requests_failed, 1);
    settle(active, started_ns_, 0);
}

}  // namespace mpserve::bind
