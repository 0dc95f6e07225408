#include "queue_probe.hpp"

#include <vector>

#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

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

    bool cancel(std::uint64_t token) { return queue_.cancel(token, kProcess, kEpoch); }
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
        .def("cancel", &QueueProbe::cancel, "token"_a,
             "Take a request back that waits or expired; False when it is neither.")
        .def("wake_word", &QueueProbe::wake_word, "instance"_a,
             "Changes when an instance is woken.");
}

}  // namespace mpserve::bind
