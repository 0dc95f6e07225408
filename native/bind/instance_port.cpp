#include "instance_port.hpp"

#include <algorithm>

#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include "mpserve/wake.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace mpserve::bind {

namespace {

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
            port_->answers_.push(popped_, completion);
        }
    }
    delete this;
}

InstancePort::InstancePort(Places places, AnswerRings answers, std::uint32_t process,
                           std::uint32_t epoch, std::uint32_t instance, nb::object attach,
                           std::shared_ptr<const InstanceContext> context, BatchRule rule,
                           std::vector<std::uint32_t> preferred_rows)
    : places_(std::move(places)),
      board_(nb::cast<BoardObject&>(places_.board).board),
      queue_(nb::cast<QueueObject&>(places_.queue).queue),
      arena_(nb::cast<ArenaObject&>(places_.arena).arena),
      answers_(std::move(answers)),
      peers_(std::move(attach)),
      regions_(places_.region_prefix),
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
    std::ranges::sort(preferred_rows_);
    rule_.preferred_rows = preferred_rows_;
    rule_.max_requests = std::min(rule.max_requests, queue_.slot_count());
    popped_.resize(rule_.max_requests);
}

InstancePort::~InstancePort() {
    active_.clear();
    rescheduled_.clear();
    for (auto* lease : leases_) lease->orphan();
    for (auto* lease : input_leases_) lease->orphan();
}

void InstancePort::activate() {
    if (sequence_slots_ != 0) queue_.set_sequence_slots(sequence_slots_);
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

void bind_instance_port(nb::module_& m) {
    nb::class_<InstancePort>(m, "InstancePort", "One model instance's access to its queue.")
        .def(
            "__init__",
            [](InstancePort* self, nb::object board, std::uint32_t process_index,
               std::uint32_t epoch, nb::object queue, std::uint32_t instance_slot, nb::object arena,
               nb::list rings, std::vector<int> wake_fds, nb::object attach, nb::object attach_ring,
               std::string instance_name, std::string model_name, std::string model_version,
               std::vector<std::string> output_names, bool open_outputs,
               std::string absent_parameters, std::string region_prefix, std::uint32_t max_requests,
               std::uint32_t max_rows, std::vector<std::uint32_t> preferred_rows,
               std::uint64_t max_delay_us, std::uint32_t ready_slots, nb::list controls,
               std::uint32_t sequence_slots, std::vector<std::string> state_outputs,
               const nb::list& input_reshapes, const nb::list& output_reshapes) {
                auto context = std::make_shared<InstanceContext>();
                context->instance_name = std::move(instance_name);
                context->model_name = std::move(model_name);
                context->model_version = std::move(model_version);
                context->output_names = std::move(output_names);
                context->open_outputs = open_outputs;
                context->absent_parameters = std::move(absent_parameters);
                context->state_outputs = std::move(state_outputs);
                context->input_reshapes = read_reshapes(input_reshapes);
                context->output_reshapes = read_reshapes(output_reshapes);
                for (const nb::handle control : controls)
                    context->controls.push_back(read_control(control));
                new (self) InstancePort(
                    {.board = std::move(board),
                     .queue = std::move(queue),
                     .arena = std::move(arena),
                     .region_prefix = std::move(region_prefix)},
                    AnswerRings(std::move(rings), std::move(wake_fds), std::move(attach_ring)),
                    process_index, epoch, instance_slot, std::move(attach), std::move(context),
                    {.max_rows = max_rows,
                     .max_requests = max_requests,
                     .max_delay_ns = std::min(max_delay_us, kMaxDelayUs) * 1'000,
                     .preferred_rows = {},
                     .ready_slots = ready_slots},
                    std::move(preferred_rows));
                self->set_sequence_slots(sequence_slots);
            },
            nb::kw_only(), "board"_a, "process_index"_a, "epoch"_a, "queue"_a, "instance_slot"_a,
            "arena"_a, "rings"_a, "wake_fds"_a, "attach"_a, "attach_ring"_a, "instance_name"_a,
            "model_name"_a, "model_version"_a, "output_names"_a, "open_outputs"_a,
            "absent_parameters"_a = "", "region_prefix"_a = "", "max_requests"_a = 1,
            "max_rows"_a = 1, "preferred_rows"_a = std::vector<std::uint32_t>(),
            "max_delay_us"_a = 0, "ready_slots"_a = 0, "controls"_a = nb::list(),
            "sequence_slots"_a = 0, "state_outputs"_a = std::vector<std::string>(),
            "input_reshapes"_a = nb::list(), "output_reshapes"_a = nb::list())
        .def("await_streams", &InstancePort::await_streams, "timeout_ms"_a,
             "Wait until each response sender that was left has sent its final flag; false after "
             "the time-out.")
        .def("has_stream_room", &InstancePort::has_stream_room,
             "Whether the queue has room for one more stream that its client ends.")
        .def("await_news", &InstancePort::await_news, "timeout_ms"_a,
             "Wait until a stream has a further request, or an answer was sent.")
        .def("activate", &InstancePort::activate, "The model is loaded: requests may be taken.")
        .def("pop", &InstancePort::pop, "timeout_ms"_a,
             "Take a batch; an empty list after the time-out, which is 32 times as long where "
             "nothing is left to give back, or `wake`. Raises StopIteration when the "
             "queue or the instance was retired and nothing waits.")
        .def("complete", &InstancePort::complete, "requests"_a, "responses"_a,
             "Answer the batch: one response for each request, in order. Empties both lists.")
        .def("fail", &InstancePort::fail, "requests"_a, "code"_a, "message"_a,
             "Answer the whole batch with an error. Empties `requests`.")
        .def("detach", &InstancePort::detach, "requests"_a,
             "`execute` of a decoupled model returned: senders answer. Empties `requests`.")
        .def("put_off", &InstancePort::put_off, "requests"_a,
             nb::sig("def put_off(self, requests: list) -> list[int]"),
             "Take what the model wants once more out of the batch and the list; return which.")
        .def("set_decoupled", &InstancePort::set_decoupled, "decoupled"_a,
             "Requests are answered through their senders, any number of times.")
        .def_prop_ro("arena_used_bytes", &InstancePort::arena_used_bytes,
                     "Shared memory that answers take which are not read yet.")
        .def("set_limiter", &InstancePort::set_limiter, "limiter"_a,
             "Each execution takes its resources (`RateLimiter`) first.")
        .def("set_ordered", &InstancePort::set_ordered, "ordered"_a,
             "Answers of all instances leave in the order in which their requests came.")
        .def("wake", &InstancePort::wake, nb::call_guard<nb::gil_scoped_release>(),
             "Let `pop` return; from any thread.");
}

}  // namespace mpserve::bind
