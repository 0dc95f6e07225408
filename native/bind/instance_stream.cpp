// Answers of decoupled models: any number for a request, from any thread, also after `execute`
// returned.
//
// A model is held back by a slow reader: when so much of a request's answers is not read
// (`unread_limit`), or the worker's arena is full, `send` waits until answers came back or the
// request was cancelled. A reader that lets it wait for `kRoomNs` is given up: the request ends
// with an error, the model sees it as cancelled, and what it still sends is dropped.

#include <unistd.h>

#include <algorithm>

#include <nanobind/nanobind.h>

#include "inference_request.hpp"
#include "inference_response.hpp"
#include "instance_port.hpp"
#include "model_exception.hpp"
#include "mpserve/wake.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

constexpr std::uint32_t kCompleteFinal = 1;  // TRITONSERVER_RESPONSE_COMPLETE_FINAL
constexpr std::uint64_t kRoomNs = 60'000'000'000ULL;
constexpr useconds_t kRoomNapUs = 500;
constexpr std::uint64_t kMaxUnreadBytes = 4ULL << 20;
constexpr std::uint64_t kUnreadShare = 16;             // of the arena, for one request
constexpr std::uint64_t kLeastAnswerBytes = 16 << 10;  // what an answer counts for at least
constexpr const char* kNotRead =
    "the answers of the request were not read for 60 s; read the stream as it comes";

}  // namespace

bool PoppedLease::is_stream() const noexcept { return port_ != nullptr && port_->decoupled_; }

bool PoppedLease::is_cancelled() const noexcept {
    if (port_ == nullptr || given_up_) return true;
    return !port_->board_.is_current(popped_.frontend, popped_.frontend_epoch) ||
           port_->queue_.is_cancelled(popped_.slot);
}

void PoppedLease::send(const InferenceRequest& request, nb::handle response, std::uint32_t flags) {
    if (flags != 0 && flags != kCompleteFinal) {
        throw ModelException("Unable to send response. Unsupported flag provided.");
    }
    if (response.is_none() && flags == 0) {
        throw ModelException(
            "Inference Response object must be provided when the response flags is set to zero.");
    }
    if (given_up_) return;
    if (closed_) throw ModelException("Unable to send response. Response sender has been closed.");
    if (port_ == nullptr) throw ModelException("Unable to send response. The instance has ended.");
    const bool final = flags == kCompleteFinal;
    closed_ = final;
    if (response.is_none()) {
        Completion completion{};
        completion.flags = kEmptyFinal;
        port_->send_completion(*this, completion, true, now_ns());
    } else {
        port_->send_answer(*this, request, response, final);
    }
}

void PoppedLease::note_unread(BlockRef block, std::uint64_t ticket, std::uint64_t bytes) {
    unread_.push_back(
        {.block = block, .ticket = ticket, .bytes = std::max(bytes, kLeastAnswerBytes)});
    unread_bytes_ += unread_.back().bytes;
}

std::uint64_t PoppedLease::unread_bytes(const Arena& arena) noexcept {
    std::erase_if(unread_, [&](const Unread& answer) {
        if (arena.is_lent(answer.block, answer.ticket)) return false;
        unread_bytes_ -= answer.bytes;
        return true;
    });
    return unread_bytes_;
}

bool PoppedLease::has_room() noexcept {
    if (port_ == nullptr || unread_bytes_ < port_->unread_limit()) return true;
    port_->arena_.collect();
    return unread_bytes(port_->arena_) < port_->unread_limit();
}

std::uint64_t InstancePort::unread_limit() const noexcept {
    return std::min(kMaxUnreadBytes, arena_.max_bytes() / kUnreadShare);
}

Block InstancePort::wait_for_room(PoppedLease& lease, std::uint64_t bytes) {
    const auto deadline = now_ns() + kRoomNs;
    for (;;) {
        if (lease.has_room()) {
            if (auto block = arena_.allocate(bytes)) return block;
            if (bytes > arena_.max_bytes()) return {};
        }
        if (lease.is_cancelled() || now_ns() > deadline) return {};
        if (answers_.has_waiting()) answers_.flush();
        arena_.reclaim_dead(board_);
        const nb::gil_scoped_release unlocked;
        usleep(kRoomNapUs);
    }
}

void InstancePort::send_answer(PoppedLease& lease, const InferenceRequest& request,
                               nb::handle response, bool final) {
    const auto made_ns = now_ns();
    ResponseWriter writer;  // not the port's: a wait for room lets other threads send
    const auto& given = nb::cast<const InferenceResponse&>(response);
    const auto bytes = writer.measure(request, given);
    const auto block = wait_for_room(lease, bytes);
    Completion completion{};
    if (!block) {
        if (!final && lease.is_cancelled()) return;
        lease.give_up();
        return send_error(lease, Status::exhausted,
                          bytes > arena_.max_bytes()
                              ? "an answer of " + std::to_string(bytes) +
                                    " bytes is larger than the worker's arena may be; raise "
                                    "--arena-max-bytes"
                              : kNotRead);
    } else {
        writer.write(block.data, block.bytes, final ? kFinalResponse : 0);
        if (lease.regions_are_intact()) {
            const auto& header = *reinterpret_cast<const MessageHeader*>(block.data);
            completion.status = static_cast<std::uint16_t>(header.status);
            completion.block = block.ref;
            completion.block_bytes = header.total_bytes;
        } else {
            arena_.release(block.ref);
            Active failed;
            put_error(failed, Status::model_failed, kRegionCut);
            completion = failed.completion;
        }
    }
    send_completion(lease, completion, final, made_ns);
}

void InstancePort::send_error(PoppedLease& lease, Status status, std::string_view message) {
    Active failed;
    put_error(failed, status, message);
    send_completion(lease, failed.completion, true, now_ns());
}

void InstancePort::send_completion(PoppedLease& lease, Completion completion, bool final,
                                   std::uint64_t made_ns) {
    const auto& request = lease.popped();
    completion.token = request.request.token;
    completion.frontend_epoch = request.frontend_epoch;
    completion.worker_index = process_;
    completion.worker_epoch = epoch_;
    completion.popped_ns = request.popped_ns;
    completion.execute_ns = now_ns() - request.popped_ns;
    if (final) {
        const bool still_used = lease.use_count() > 0;
        if (still_used) completion.flags |= kInputsLeased;
        lease.close(still_used);
    } else {
        completion.flags |= kMoreFollow;
    }
    if (decoupled_) count_response(lease, completion, made_ns);
    if (final) count_stream(request, completion);
    if (!board_.is_current(request.frontend, request.frontend_epoch)) {
        if (completion.block != 0) arena_.release(completion.block);
    } else {
        if (completion.block != 0) {
            const auto ticket =
                arena_.lend(completion.block, request.frontend, request.frontend_epoch);
            if (!final) lease.note_unread(completion.block, ticket, completion.block_bytes);
        }
        answers_.push(request, completion);
    }
    if (!final) return;
    close_inputs(lease);
    done_.push_back(request.slot);
    // The slot is freed by the next pop; the loop may sleep, and this may be another thread.
    auto& word = queue_.wake_word(instance_);
    word.fetch_add(1, std::memory_order_release);
    futex_wake(word);
}

// How long the model took for a response, since it was given the request or sent the one before,
// and how long it took to be written.
void InstancePort::count_response(PoppedLease& lease, const Completion& completion,
                                  std::uint64_t made_ns) noexcept {
    const auto now = now_ns();
    const auto begun_ns = lease.begin_response(now);
    auto* row = claim_response_row(queue_.response_rows(), instance_, lease.next_response());
    if (row == nullptr) return;
    const auto taken_ns = now - begun_ns;
    if ((completion.flags & kEmptyFinal) != 0) {
        count(row->empties, 1);
        count(row->empty_ns, taken_ns);
        return;
    }
    if (completion.status != static_cast<std::uint32_t>(Status::ok)) {
        count(row->failures, 1);
        count(row->failure_ns, taken_ns);
        return;
    }
    count(row->successes, 1);
    count(row->success_ns, taken_ns);
    count(row->infer_ns, made_ns - std::min(made_ns, begun_ns));
    count(row->output_ns, now - made_ns);
}

// A request of a decoupled model ends; what it executed for is not of one batch.
void InstancePort::count_stream(const PoppedRequest& request,
                                const Completion& completion) noexcept {
    auto& counters = queue_.counters(instance_);
    const bool succeeded = completion.status == static_cast<std::uint32_t>(Status::ok);
    count(succeeded ? counters.requests_ok : counters.requests_failed, 1);
    count_arena(counters);
    if (!succeeded) return;
    count(counters.inferences, request.request.rows);
    count(counters.queue_ns, request.popped_ns - request.enqueued_ns);
    count(counters.execute_ns, completion.execute_ns);
    counters.last_inference_unix_ms.store(unix_ms(), std::memory_order_relaxed);
}

bool InstancePort::await_streams(std::uint32_t timeout_ms) {
    const std::uint64_t deadline = now_ns() + std::uint64_t{timeout_ms} * 1'000'000;
    auto& word = queue_.wake_word(instance_);
    for (;;) {
        // Read first: a final answer that is sent after the look below changes it.
        const auto seen = word.load(std::memory_order_acquire);
        if (answers_.has_waiting()) answers_.flush();
        arena_.collect();
        arena_.reclaim_dead(board_);
        const bool open = std::ranges::any_of(
            leases_, [](const PoppedLease* lease) { return lease->is_open_stream(); });
        if (!open) return true;
        const auto now = now_ns();
        if (now >= deadline) return false;
        const nb::gil_scoped_release unlocked;
        futex_wait(word, seen, deadline - now);
    }
}

void InstancePort::detach(nb::list requests) {
    std::uint64_t rows = 0;
    std::uint64_t popped_ns = started_ns_;
    forget_fillers();
    for (const auto& active : active_) {
        auto* lease = static_cast<PoppedLease*>(active.lease.get());
        rows += lease->popped().request.rows;
        popped_ns = std::min(popped_ns, lease->popped().popped_ns);
        lease->detach();
    }
    if (rows != 0) count_execution(rows, started_ns_ - popped_ns, now_ns() - started_ns_, 0);
    PyList_SetSlice(requests.ptr(), 0, PY_SSIZE_T_MAX, nullptr);
    active_.clear();  // whose sender was dropped is failed now
}

}  // namespace mpserve::bind
