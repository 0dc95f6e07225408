#include "instance_port.hpp"

#include <algorithm>
#include <ctime>

#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include "inference_request.hpp"
#include "inference_response.hpp"
#include "model_exception.hpp"
#include "mpserve/wake.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace mpserve::bind {

namespace {

void empty(nb::list& list) {
    if (PyList_SetSlice(list.ptr(), 0, PY_SSIZE_T_MAX, nullptr) != 0) throw nb::python_error();
}

constexpr std::uint64_t kReturnsRetryNs = 1'000'000;  // a full ring is looked at again
constexpr std::uint64_t kTrimNs = 1'000'000'000;      // between two looks at what is unused
constexpr std::uint64_t kMaxDelayUs = 3'600'000'000;  // an hour: nobody means more

}  // namespace

void PoppedLease::on_unused() noexcept {
    if (port_ != nullptr) {
        if (detached_ && !closed_) {
            port_->send_error(*this, Status::model_failed,
                              "the model dropped the response sender of the request before it sent "
                              "the final flag");
        }
        std::erase(port_->leases_, this);
        if (return_later_) {
            Completion completion{};
            completion.frontend_epoch = popped_.frontend_epoch;
            completion.worker_index = port_->process_;
            completion.worker_epoch = port_->epoch_;
            completion.block = popped_.request.block;
            completion.flags = kInputsReturned;
            port_->push(popped_.ring, completion);
        }
    }
    delete this;
}

InstancePort::InstancePort(Places places, std::uint32_t process, std::uint32_t epoch,
                           std::uint32_t instance, nb::object attach,
                           std::shared_ptr<const InstanceContext> context, BatchRule rule,
                           std::vector<std::uint32_t> preferred_rows)
    : places_(std::move(places)),
      board_(nb::cast<BoardObject&>(places_.board).board),
      queue_(nb::cast<QueueObject&>(places_.queue).queue),
      arena_(nb::cast<ArenaObject&>(places_.arena).arena),
      peers_(std::move(attach)),
      context_(std::move(context)),
      preferred_rows_(std::move(preferred_rows)),
      rule_(rule),
      process_(process),
      epoch_(epoch),
      instance_(instance) {
    if (instance >= kMaxInstances) throw nb::value_error("instance_slot: out of range");
    if (rule.max_requests == 0 || rule.max_rows == 0) {
        throw nb::value_error("max_requests, max_rows: at least 1");
    }
    for (nb::handle ring : places_.rings) rings_.push_back(&nb::cast<RingObject&>(ring).ring);
    if (rings_.size() != places_.wake_fds.size()) {
        throw nb::value_error("rings, wake_fds: one of each for every frontend");
    }
    std::ranges::sort(preferred_rows_);
    rule_.preferred_rows = preferred_rows_;
    rule_.max_requests = std::min(rule.max_requests, queue_.slot_count());
    popped_.resize(rule_.max_requests);
}

InstancePort::~InstancePort() {
    active_.clear();
    for (auto* lease : leases_) lease->orphan();
}

void InstancePort::activate() {
    if (!queue_.activate(instance_, process_, epoch_)) {
        throw nb::value_error("the model queue knows no such instance");
    }
}

void InstancePort::wake() noexcept {
    woken_.store(true, std::memory_order_release);
    auto& word = queue_.wake_word(instance_);
    word.fetch_add(1, std::memory_order_release);
    futex_wake(word);
}

void InstancePort::signal(std::uint64_t rings) noexcept {
    for (std::size_t ring = 0; ring < places_.wake_fds.size(); ++ring) {
        if ((rings >> ring) & 1) eventfd_signal(places_.wake_fds[ring]);
    }
}

void InstancePort::push(std::uint32_t ring, const Completion& completion) noexcept {
    if (ring >= rings_.size()) return;
    bool wake = false;
    // Behind what waits already: the order of one producer is kept.
    if (!returns_.empty() || rings_[ring]->push({&completion, 1}, wake) == 0) {
        returns_.emplace_back(ring, completion);
        eventfd_signal(places_.wake_fds[ring]);
        return;
    }
    if (wake) eventfd_signal(places_.wake_fds[ring]);
}

void InstancePort::flush_returns() noexcept {
    while (!returns_.empty()) {
        const auto& [ring, completion] = returns_.front();
        bool wake = false;
        if (rings_[ring]->push({&completion, 1}, wake) == 0) return;
        if (wake) eventfd_signal(places_.wake_fds[ring]);
        returns_.pop_front();
    }
}

void InstancePort::accept(nb::list& requests, std::size_t popped) {
    for (std::size_t index = 0; index < popped; ++index) {
        const auto& request = popped_[index];
        auto block = peers_.borrow(request.frontend, request.frontend_epoch, request.request.block,
                                   request.request.block_bytes);
        const auto view = MessageView::open(block.data, request.request.block_bytes);
        if (!view) {  // the frontend is dead and its segments are swept: nobody waits for an answer
            done_.push_back(request.slot);
            continue;
        }
        auto* lease = new PoppedLease(*this, request, std::move(block));
        leases_.push_back(lease);
        auto& active = active_.emplace_back();
        active.lease = LeaseRef(lease);
        requests.append(make_request(active.lease, *view, context_));
    }
}

void InstancePort::trim(std::uint64_t now) {
    arena_.trim_idle();
    peers_.forget_gone(board_);
    trim_at_ns_ = now + kTrimNs;
}

nb::list InstancePort::pop(std::uint32_t timeout_ms) {
    if (!active_.empty()) throw nb::value_error("pop: the last batch was not answered");
    const std::uint64_t deadline = now_ns() + std::uint64_t{timeout_ms} * 1'000'000;
    nb::list requests;
    for (;;) {
        if (!returns_.empty()) flush_returns();
        arena_.collect();
        arena_.reclaim_dead(board_);
        std::size_t popped = 0;
        std::uint64_t starved = 0;
        std::uint32_t seen = 0;
        auto rule = rule_;
        // Who is asked to end keeps nothing waiting for company.
        if (woken_.load(std::memory_order_acquire)) rule.max_delay_ns = 0;
        const auto outcome = queue_.pop(instance_, rule, done_, popped_, popped, starved, seen);
        done_.clear();
        if (starved != 0) signal(starved);
        if (outcome == PopOutcome::retired) throw nb::stop_iteration();
        if (outcome == PopOutcome::taken) {
            accept(requests, popped);
            if (nb::len(requests) == 0) continue;
            started_ns_ = now_ns();
            if (started_ns_ >= trim_at_ns_) trim(started_ns_);
            return requests;
        }
        if (woken_.exchange(false, std::memory_order_acq_rel)) return requests;
        const auto now = now_ns();
        if (now >= deadline) {
            trim(now);
            return requests;
        }
        auto until = deadline;
        if (!returns_.empty()) until = std::min(until, now + kReturnsRetryNs);
        if (const auto due = queue_.look_again_ns(instance_); due != 0)
            until = std::min(until, due);
        if (until <= now) continue;
        const nb::gil_scoped_release unlocked;
        futex_wait(queue_.wake_word(instance_), seen, until - now);
    }
}

bool InstancePort::reserve(Active& active, std::uint64_t bytes, Block& block) {
    block = arena_.allocate(bytes);
    if (!block) return false;
    active.completion.block = block.ref;
    return true;
}

void InstancePort::put_error(Active& active, Status status, std::string_view message) {
    auto& completion = active.completion;
    completion.status = static_cast<std::uint32_t>(status);
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
            put_error(active, Status::exhausted,
                      "no shared memory for the answer: " + std::to_string(bytes) +
                          " bytes are needed; raise the worker's arena limit or /dev/shm");
            return;
        }
        if (!writer_.write(block.data, block.bytes, kFinalResponse)) {
            throw ModelException("the answer changed while it was written");
        }
    } catch (const std::exception& error) {
        if (block) arena_.release(block.ref);
        put_error(active, Status::model_failed, error.what());
        return;
    }
    const auto& header = *reinterpret_cast<const MessageHeader*>(block.data);
    active.completion.status = header.status;
    active.completion.block_bytes = header.total_bytes;
}

void InstancePort::complete(nb::list requests, nb::list responses) {
    if (nb::len(requests) != active_.size() || nb::len(responses) != active_.size()) {
        throw nb::value_error("complete: one response for each request of the batch is needed");
    }
    const auto executed_ns = now_ns();
    for (std::size_t index = 0; index < active_.size(); ++index) {
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

void InstancePort::finish_batch(nb::list& requests, std::uint64_t executed_ns) {
    // Request objects that the model did not keep end here, and their leases with them.
    empty(requests);
    count_batch(executed_ns);
    for (auto& active : active_) {
        auto* lease = static_cast<PoppedLease*>(active.lease.get());
        const auto& request = lease->popped();
        auto& completion = active.completion;
        const bool still_used = lease->use_count() > 1;
        completion.token = request.request.token;
        completion.frontend_epoch = request.frontend_epoch;
        completion.worker_index = process_;
        completion.worker_epoch = epoch_;
        completion.flags = still_used ? kInputsLeased : 0;
        completion.queue_ns = request.popped_ns - request.enqueued_ns;
        completion.execute_ns = executed_ns - started_ns_;
        lease->settle(still_used);
        if (!board_.is_current(request.frontend, request.frontend_epoch)) {
            if (completion.block != 0) arena_.release(completion.block);
        } else {
            if (completion.block != 0) {
                arena_.lend(completion.block, request.frontend, request.frontend_epoch);
            }
            push(request.ring, completion);
        }
        done_.push_back(request.slot);
    }
    active_.clear();
}

// Before any answer is sent, so that who has an answer finds it counted.
void InstancePort::count_batch(std::uint64_t executed_ns) noexcept {
    std::uint64_t succeeded = 0;
    std::uint64_t succeeded_rows = 0;
    std::uint64_t rows = 0;
    std::uint64_t queued_ns = 0;
    std::uint64_t popped_ns = started_ns_;
    for (const auto& active : active_) {
        const auto& request = static_cast<const PoppedLease*>(active.lease.get())->popped();
        rows += request.request.rows;
        popped_ns = std::min(popped_ns, request.popped_ns);
        if (active.completion.status != static_cast<std::uint32_t>(Status::ok)) continue;
        ++succeeded;
        succeeded_rows += request.request.rows;
        queued_ns += request.popped_ns - request.enqueued_ns;
    }
    auto& counters = queue_.counters(instance_);
    count(counters.requests_ok, succeeded);
    count(counters.requests_failed, active_.size() - succeeded);
    count_arena(counters);
    if (succeeded == 0) return;
    const auto input_ns = started_ns_ - popped_ns;
    const auto execute_ns = executed_ns - started_ns_;
    const auto output_ns = now_ns() - executed_ns;
    count(counters.inferences, succeeded_rows);
    count(counters.queue_ns, queued_ns);
    count(counters.input_ns, input_ns * succeeded);
    count(counters.execute_ns, execute_ns * succeeded);
    count(counters.output_ns, output_ns * succeeded);
    counters.last_inference_unix_ms.store(unix_ms(), std::memory_order_relaxed);
    count_execution(rows, input_ns, execute_ns, output_ns);
}

void InstancePort::count_execution(std::uint64_t rows, std::uint64_t input_ns,
                                   std::uint64_t execute_ns, std::uint64_t output_ns) noexcept {
    count(queue_.counters(instance_).executions, 1);
    auto* row = batch_row(static_cast<std::uint32_t>(std::min<std::uint64_t>(rows, UINT32_MAX)));
    if (row == nullptr) return;
    count(row->executions, 1);
    count(row->input_ns, input_ns);
    count(row->execute_ns, execute_ns);
    count(row->output_ns, output_ns);
}

void InstancePort::count_arena(InstanceCounters& counters) const noexcept {
    counters.arena_used_bytes.store(arena_.used_bytes(), std::memory_order_relaxed);
    counters.arena_total_bytes.store(arena_.total_bytes(), std::memory_order_relaxed);
}

std::uint64_t InstancePort::unix_ms() noexcept {
    timespec now{};
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1000 +
           static_cast<std::uint64_t>(now.tv_nsec) / 1'000'000;
}

// The row of a batch of this size; a batch is mostly of the size of the one before.
BatchRow* InstancePort::batch_row(std::uint32_t rows) noexcept {
    if (batch_row_ == nullptr || rows != batch_row_rows_) {
        batch_row_ = claim_batch_row(queue_.batch_rows(), instance_, rows);
        batch_row_rows_ = rows;
    }
    return batch_row_;
}

void bind_instance_port(nb::module_& m) {
    nb::class_<InstancePort>(m, "InstancePort", "One model instance's access to its queue.")
        .def(
            "__init__",
            [](InstancePort* self, nb::object board, std::uint32_t process_index,
               std::uint32_t epoch, nb::object queue, std::uint32_t instance_slot, nb::object arena,
               nb::list rings, std::vector<int> wake_fds, nb::object attach,
               std::string instance_name, std::string model_name, std::string model_version,
               std::vector<std::string> output_names, bool open_outputs,
               std::string absent_parameters, std::uint32_t max_requests, std::uint32_t max_rows,
               std::vector<std::uint32_t> preferred_rows, std::uint64_t max_delay_us) {
                auto context = std::make_shared<InstanceContext>();
                context->instance_name = std::move(instance_name);
                context->model_name = std::move(model_name);
                context->model_version = std::move(model_version);
                context->output_names = std::move(output_names);
                context->open_outputs = open_outputs;
                context->absent_parameters = std::move(absent_parameters);
                new (self) InstancePort(
                    {.board = std::move(board),
                     .queue = std::move(queue),
                     .arena = std::move(arena),
                     .rings = std::move(rings),
                     .wake_fds = std::move(wake_fds)},
                    process_index, epoch, instance_slot, std::move(attach), std::move(context),
                    {.max_rows = max_rows,
                     .max_requests = max_requests,
                     .max_delay_ns = std::min(max_delay_us, kMaxDelayUs) * 1'000,
                     .preferred_rows = {}},
                    std::move(preferred_rows));
            },
            nb::kw_only(), "board"_a, "process_index"_a, "epoch"_a, "queue"_a, "instance_slot"_a,
            "arena"_a, "rings"_a, "wake_fds"_a, "attach"_a, "instance_name"_a, "model_name"_a,
            "model_version"_a, "output_names"_a, "open_outputs"_a, "absent_parameters"_a = "",
            "max_requests"_a = 1, "max_rows"_a = 1,
            "preferred_rows"_a = std::vector<std::uint32_t>(), "max_delay_us"_a = 0)
        .def("activate", &InstancePort::activate, "The model is loaded: requests may be taken.")
        .def("pop", &InstancePort::pop, "timeout_ms"_a,
             "Take a batch; an empty list after the time-out or `wake`. Raises StopIteration when "
             "the "
             "queue or the instance was retired and nothing waits.")
        .def("complete", &InstancePort::complete, "requests"_a, "responses"_a,
             "Answer the batch: one response for each request, in order. Empties both lists.")
        .def("fail", &InstancePort::fail, "requests"_a, "code"_a, "message"_a,
             "Answer the whole batch with an error. Empties `requests`.")
        .def("detach", &InstancePort::detach, "requests"_a,
             "`execute` of a decoupled model returned: senders answer. Empties `requests`.")
        .def("set_decoupled", &InstancePort::set_decoupled, "decoupled"_a,
             "Requests are answered through their senders, any number of times.")
        .def("wake", &InstancePort::wake, nb::call_guard<nb::gil_scoped_release>(),
             "Let `pop` return; from any thread.");
}

}  // namespace mpserve::bind
