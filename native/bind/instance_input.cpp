// Further requests of a stream: a worker asks for the next one with a completion that is no answer,
// and the frontend puts it into the stream's slot of the queue. So at most one is on its way, and a
// model that does not ask holds its client back.
//
// The block of a further request is lent to the worker when it is given, and goes back by a
// completion of its own, when the model keeps no view of it any more.

#include <algorithm>

#include <nanobind/nanobind.h>

#include "inference_request.hpp"
#include "instance_port.hpp"
#include "mpserve/wake.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

void InputLease::on_unused() noexcept {
    if (port_ != nullptr) {
        std::erase(port_->input_leases_, this);
        port_->return_input(stream_, ref_);
    }
    delete this;
}

void PoppedLease::ask_input() {
    if (port_ == nullptr || closed_ || awaits_input_) return;
    awaits_input_ = true;
    told_input_ = false;
    Completion completion{};
    completion.token = popped_.request.token;
    completion.frontend_epoch = popped_.frontend_epoch;
    completion.worker_index = port_->process_;
    completion.worker_epoch = port_->epoch_;
    completion.flags = kWantsInput | kMoreFollow;
    completion.input_ns = popped_.slot;
    port_->answers_.push(popped_, completion);
}

// None: nothing yet. Raises StopIteration when the client has sent all.
nb::object PoppedLease::take_input() {
    if (port_ == nullptr || closed_ || !awaits_input_) throw nb::stop_iteration();
    const auto input = port_->queue_.take_input(popped_.slot);
    if (input == kNoInput) return nb::none();
    awaits_input_ = false;
    if (input == kInputsEnd) throw nb::stop_iteration();
    return port_->make_input(*this, input);
}

bool PoppedLease::has_news() noexcept {
    if (!is_open_stream()) return false;
    const bool has_input = awaits_input_ && !told_input_ && port_->queue_.has_input(popped_.slot);
    const bool has_no_reader = !told_cancelled_ && is_cancelled();
    told_input_ |= has_input;
    told_cancelled_ |= has_no_reader;
    return has_input || has_no_reader;
}

bool InstancePort::has_news() noexcept {
    bool found = false;
    for (auto* lease : leases_) found |= lease->has_news();
    return found;
}

nb::object InstancePort::make_input(PoppedLease& lease, BlockRef ref) {
    const auto& stream = lease.popped();
    // How long the message is, its head says.
    const auto head =
        peers_.borrow(stream.frontend, stream.frontend_epoch, ref, sizeof(MessageHeader));
    const auto bytes =
        head ? reinterpret_cast<const MessageHeader*>(head.data)->total_bytes : std::uint64_t{0};
    auto block = peers_.borrow(stream.frontend, stream.frontend_epoch, ref, bytes);
    const auto view = MessageView::open(block.data, bytes);
    if (!view) throw nb::stop_iteration();  // the frontend is dead, and swept
    auto* input = new InputLease(*this, stream, std::move(block), ref);
    input_leases_.push_back(input);
    return make_request(LeaseRef(input), *view, context_);
}

void InstancePort::return_input(const PoppedRequest& stream, BlockRef ref) noexcept {
    Completion completion{};
    completion.frontend_epoch = stream.frontend_epoch;
    completion.worker_index = process_;
    completion.worker_epoch = epoch_;
    completion.block = ref;
    completion.flags = kInputsReturned;
    answers_.push(stream, completion);
}

// The last answer is sent: what was given meanwhile goes back unread.
void InstancePort::close_inputs(const PoppedLease& lease) noexcept {
    const auto left = queue_.close_inputs(lease.popped().slot);
    if (left != kNoInput && left != kInputsEnd && left != kInputsClosed) {
        return_input(lease.popped(), left);
    }
}

void InstancePort::await_news(std::uint32_t timeout_ms) {
    auto& word = queue_.wake_word(instance_);
    const auto seen = word.load(std::memory_order_acquire);
    if (answers_.has_waiting()) answers_.flush();
    arena_.collect();
    arena_.reclaim_dead(board_);
    if (has_news()) return;
    const nb::gil_scoped_release unlocked;
    futex_wait(word, seen, std::uint64_t{timeout_ms} * 1'000'000);
}

}  // namespace mpserve::bind
