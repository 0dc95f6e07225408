#include "queue_probe.hpp"

#include <vector>

#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "mpserve/message.hpp"
#include "queue_policy_object.hpp"
#include "shared_objects.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace mpserve::bind {

namespace {

constexpr std::uint32_t kProcess = 1;
constexpr std::uint32_t kEpoch = 1;

// One frontend and the instances of a queue, all of them the caller.
class QueueProbe {
public:
    explicit QueueProbe(nb::object queue)
        : owner_(std::move(queue)), queue_(nb::cast<QueueObject&>(owner_).queue) {}

    void activate(std::uint32_t instance) { queue_.activate(instance, kProcess + 1, kEpoch); }

    // False when the queue refused it, or has no slot for it.
    bool push(std::uint64_t token, nb::handle policies, std::uint64_t priority,
              std::uint64_t timeout_us, std::uint32_t rows, std::uint64_t shape,
              std::uint64_t now) {
        const auto place = read_policy(policies).place(priority, timeout_us, now);
        QueuePush push{.request = {.token = token,
                                   .block = 0,
                                   .block_bytes = 0,
                                   .deadline_ns = place.deadline_ns,
                                   .shape_digest = shape,
                                   .level = place.level,
                                   .rows = rows,
                                   .on_timeout = static_cast<std::uint32_t>(place.on_timeout)},
                       .max_waiting = place.max_waiting};
        const auto outcome = queue_.push({&push, 1}, kProcess, kEpoch, 0, now);
        return outcome.handled == 1 && !push.refused;
    }

    // (tokens, slots, when to look again; 0: not before it is woken)
    nb::tuple pop(std::uint32_t instance, std::uint32_t max_rows, std::uint32_t max_requests,
                  std::uint64_t max_delay_ns, const std::vector<std::uint32_t>& preferred_rows,
                  const std::vector<std::uint32_t>& done, std::uint64_t now) {
        std::vector<PoppedRequest> popped(max_requests);
        std::size_t count = 0;
        std::uint64_t starved = 0;
        std::uint32_t seen = 0;
        queue_.pop(instance,
                   {.max_rows = max_rows,
                    .max_requests = max_requests,
                    .max_delay_ns = max_delay_ns,
                    .preferred_rows = preferred_rows},
                   done, popped, count, starved, seen, now);
        nb::list tokens;
        nb::list slots;
        for (std::size_t index = 0; index < count; ++index) {
            tokens.append(popped[index].request.token);
            slots.append(popped[index].slot);
        }
        return nb::make_tuple(tokens, slots, count == 0 ? queue_.look_again_ns(instance) : 0);
    }

    // False when it goes on with a sequence that is not there.
    bool push_sequenced(std::uint64_t token, std::uint64_t number, bool starts, bool ends,
                        std::uint64_t timeout_us, std::uint64_t shape, std::uint64_t now) {
        SequencedRequest request{.request = {.token = token,
                                             .block = 0,
                                             .block_bytes = 0,
                                             .deadline_ns = 0,
                                             .shape_digest = shape,
                                             .level = 0,
                                             .rows = 1,
                                             .on_timeout = 0},
                                 .mark = {}};
        request.mark.key.set(number, {});
        request.mark.flags = (starts ? kSequenceStart : 0) | (ends ? kSequenceEnd : 0);
        request.mark.timeout_ns = timeout_us * 1'000;
        return queue_.push_sequenced({&request, 1}, kProcess, kEpoch, 0, now).pushed == 1;
    }

    // ([(token, slot, verdict, number of the sequence, its slot)], when to look again)
    nb::tuple pop_sequenced(std::uint32_t instance, std::uint32_t max_rows,
                            std::uint32_t max_requests, std::uint64_t max_delay_ns,
                            std::uint32_t ready_slots, const std::vector<std::uint32_t>& done,
                            std::uint64_t now) {
        static constexpr const char* kVerdicts[] = {"", "cancelled", "timed out", "lost"};
        std::vector<PoppedRequest> popped(max_requests);
        std::size_t count = 0;
        std::uint64_t starved = 0;
        std::uint32_t seen = 0;
        queue_.pop(instance,
                   {.max_rows = max_rows,
                    .max_requests = max_requests,
                    .max_delay_ns = max_delay_ns,
                    .preferred_rows = {},
                    .ready_slots = ready_slots},
                   done, popped, count, starved, seen, now);
        nb::list taken;
        for (std::size_t index = 0; index < count; ++index) {
            const auto& one = popped[index];
            taken.append(nb::make_tuple(one.request.token, one.slot,
                                        kVerdicts[static_cast<std::size_t>(one.verdict)],
                                        one.sequence, one.sequence_slot));
        }
        return nb::make_tuple(taken, count == 0 ? queue_.look_again_ns(instance) : 0);
    }

    bool cancel(std::uint64_t token, std::uint64_t now) {
        return queue_.cancel(token, kProcess, kEpoch, now);
    }
    std::uint32_t wake_word(std::uint32_t instance) { return queue_.wake_word(instance).load(); }

private:
    nb::object owner_;
    ModelQueue& queue_;
};

}  // namespace

void bind_queue_probe(nb::module_& m) {
    nb::class_<QueueProbe>(m, "QueueProbe",
                           "One frontend and the instances of a model queue, with a clock of the "
                           "caller's: for simulations.")
        .def(nb::init<nb::object>(), "queue"_a)
        .def("activate", &QueueProbe::activate, "instance"_a)
        .def("push", &QueueProbe::push, "token"_a, nb::kw_only(), "policies"_a, "priority"_a,
             "timeout_us"_a, "rows"_a, "shape"_a, "now_ns"_a,
             "Push a request; False when the queue has no room for it.")
        .def("pop", &QueueProbe::pop, "instance"_a, nb::kw_only(), "max_rows"_a, "max_requests"_a,
             "max_delay_ns"_a, "preferred_rows"_a, "done"_a, "now_ns"_a,
             "Finish the slots `done` and take a batch: (tokens, slots, when to look again).")
        .def("push_sequenced", &QueueProbe::push_sequenced, "token"_a, nb::kw_only(), "number"_a,
             "starts"_a, "ends"_a, "timeout_us"_a, "shape"_a, "now_ns"_a,
             "Push a request of a sequence; False when it goes on with one that is not there.")
        .def("pop_sequenced", &QueueProbe::pop_sequenced, "instance"_a, nb::kw_only(), "max_rows"_a,
             "max_requests"_a, "max_delay_ns"_a, "ready_slots"_a, "done"_a, "now_ns"_a,
             nb::sig("def pop_sequenced(self, instance: int, *, max_rows: int, max_requests: int, "
                     "max_delay_ns: int, ready_slots: int, done: collections.abc.Sequence[int], "
                     "now_ns: int) -> tuple[list[tuple[int, int, str, int, int]], int]"),
             "Finish the slots `done` and take a batch: what was taken (token, slot, verdict, and "
             "number and slot of its sequence), and when to look again.")
        .def("cancel", &QueueProbe::cancel, "token"_a, nb::kw_only(), "now_ns"_a,
             "Take a request back that waits or expired; False when it is neither.")
        .def("wake_word", &QueueProbe::wake_word, "instance"_a,
             "Changes when an instance is woken.");
}

}  // namespace mpserve::bind
