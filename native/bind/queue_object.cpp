// The queue of a model as Python holds it: the supervisor's calls, and what the metrics read.

#include <time.h>

#include <algorithm>
#include <array>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include "attach_object.hpp"
#include "mpserve/wake.hpp"
#include "shared_objects.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace mpserve::bind {

namespace {

// How long a full ring is waited for: one of a frontend that does not run, which others filled with
// the many answers of decoupled models.
constexpr std::uint64_t kRoomNs = 1'000'000'000;
constexpr timespec kRoomTurn{.tv_sec = 0, .tv_nsec = 1'000'000};

// Whether there was room until `until_ns`; `wake` is called for those who make some.
bool push_when_there_is_room(CompletionRing& ring, const Completion& completion,
                             std::uint64_t& until_ns, const std::function<void()>& wake) {
    bool is_asleep = false;
    while (ring.push({&completion, 1}, is_asleep) == 0) {
        const auto now = now_ns();
        if (until_ns == 0) until_ns = now + kRoomNs;
        if (now >= until_ns) return false;
        wake();
        const nb::gil_scoped_release unlocked;
        ::nanosleep(&kRoomTurn, nullptr);
    }
    return true;
}

// Answers requests without a worker: a completion of this status, without a block, for each.
// `caller_ring(process_index, epoch)` is the ring of a worker that called the model, None when it
// is gone.
std::size_t answer_all(std::span<const PoppedRequest> requests, Status status,
                       const std::vector<RingObject*>& rings, const std::vector<int>& wake_fds,
                       nb::handle caller_ring, std::uint32_t flags = 0,
                       std::uint64_t limit_ns = 0) {
    std::size_t answered = 0;
    std::uint64_t until_ns = 0;
    for (const auto& request : requests) {
        Completion completion{};
        completion.token = request.request.token;
        completion.frontend_epoch = request.frontend_epoch;
        completion.status = static_cast<std::uint16_t>(status);
        completion.flags = static_cast<std::uint16_t>(flags);
        completion.execute_ns = limit_ns;
        if (request.ring < rings.size()) {
            const auto wake = [&] { eventfd_signal(wake_fds[request.ring]); };
            auto& ring = rings[request.ring]->ring;
            answered += push_when_there_is_room(ring, completion, until_ns, wake);
            continue;
        }
        const auto caller = caller_ring(request.frontend, request.frontend_epoch);
        if (caller.is_none()) continue;
        auto& ring = nb::cast<RingObject&>(caller).ring;
        answered +=
            push_when_there_is_room(ring, completion, until_ns, [&ring] { ring.wake_sleeper(); });
        ring.wake_sleeper();
    }
    // Signalled whether or not they look asleep: the dead may have taken the mark and not
    // signalled.
    for (const auto fd : wake_fds) eventfd_signal(fd);
    return answered;
}

void signal_rings(std::uint64_t mask, const std::vector<int>& wake_fds) {
    for (std::size_t ring = 0; ring < wake_fds.size(); ++ring) {
        if ((mask >> ring) & 1) eventfd_signal(wake_fds[ring]);
    }
}

std::uint64_t value_of(const Counter& counter) noexcept {
    return counter.load(std::memory_order_relaxed);
}

// Of a table that is kept: (sum, {bucket: count}) for each kind, or None; (bounds, sum, counts) of
// the first responses, or None. None without a table.
nb::object latencies_of(ModelQueue& queue) {
    const auto* table = queue.latencies();
    if (table == nullptr) return nb::none();
    nb::object summaries = nb::none();
    if (table->summaries != 0) {
        nb::list kinds;
        for (std::size_t kind = 0; kind < kLatencyKinds; ++kind) {
            nb::dict buckets;
            for (std::uint32_t bucket = 0; bucket < kLatencyBuckets; ++bucket) {
                const auto count = value_of(table->buckets[kind][bucket]);
                if (count != 0) buckets[nb::int_(bucket)] = count;
            }
            kinds.append(nb::make_tuple(value_of(table->sum_us[kind]), buckets));
        }
        summaries = kinds;
    }
    nb::object first = nb::none();
    if (const auto bounds = std::min(table->first_bounds, kMaxFirstBounds); bounds != 0) {
        nb::list limits;
        nb::list counts;
        for (std::uint32_t index = 0; index < bounds; ++index) {
            limits.append(table->bounds_ms[index]);
        }
        for (std::uint32_t index = 0; index <= bounds; ++index) {
            counts.append(value_of(table->first[index]));
        }
        first = nb::make_tuple(limits, value_of(table->first_sum_ms), counts);
    }
    return nb::make_tuple(summaries, first);
}

// Adds up what all instances and frontends counted.
nb::dict counts_of(ModelQueue& queue) {
    static constexpr const char* kReasons[kFailureReasons] = {"rejected", "canceled", "backend",
                                                              "other"};
    struct Sum {
        const char* name;
        Counter InstanceCounters::* counter;
    };
    static constexpr Sum kSums[] = {{"inferences", &InstanceCounters::inferences},
                                    {"executions", &InstanceCounters::executions},
                                    {"queue_ns", &InstanceCounters::queue_ns},
                                    {"input_ns", &InstanceCounters::input_ns},
                                    {"execute_ns", &InstanceCounters::execute_ns},
                                    {"output_ns", &InstanceCounters::output_ns}};
    nb::dict counts;
    for (const auto& sum : kSums) {
        std::uint64_t total = 0;
        for (std::uint32_t instance = 0; instance < kMaxInstances; ++instance) {
            total += value_of(queue.counters(instance).*sum.counter);
        }
        counts[sum.name] = total;
    }
    std::uint64_t last = 0;
    for (std::uint32_t instance = 0; instance < kMaxInstances; ++instance) {
        last = std::max(last, value_of(queue.counters(instance).last_inference_unix_ms));
    }
    counts["last_inference_unix_ms"] = last;
    std::uint64_t successes = 0;
    std::uint64_t success_ns = 0;
    std::uint64_t failure_ns = 0;
    std::uint64_t unpushed = 0;
    std::array<std::uint64_t, kFailureReasons> failures{};
    for (std::uint32_t ring = 0; ring < kMaxRings; ++ring) {
        const auto& counters = queue.frontend_counters(ring);
        successes += value_of(counters.successes);
        success_ns += value_of(counters.success_ns);
        failure_ns += value_of(counters.failure_ns);
        unpushed += value_of(counters.unpushed);
        for (std::size_t reason = 0; reason < kFailureReasons; ++reason) {
            failures[reason] += value_of(counters.failures[reason]);
        }
    }
    counts["successes"] = successes;
    counts["success_ns"] = success_ns;
    counts["failure_ns"] = failure_ns;
    for (std::size_t reason = 0; reason < kFailureReasons; ++reason) {
        counts[kReasons[reason]] = failures[reason];
    }
    counts["waiting"] = queue.depth() + unpushed;
    nb::list batches;
    for (const auto& row : queue.batch_rows()) {
        const auto key = value_of(row.key);
        if (key == 0) continue;
        batches.append(nb::make_tuple(static_cast<std::uint32_t>(key), value_of(row.executions),
                                      value_of(row.input_ns), value_of(row.execute_ns),
                                      value_of(row.output_ns)));
    }
    counts["batches"] = batches;
    nb::list responses;
    for (const auto& row : queue.response_rows()) {
        const auto key = value_of(row.key);
        if (key == 0) continue;
        responses.append(nb::make_tuple(
            static_cast<std::uint32_t>(key), value_of(row.infer_ns), value_of(row.output_ns),
            value_of(row.successes), value_of(row.success_ns), value_of(row.failures),
            value_of(row.failure_ns), value_of(row.empties), value_of(row.empty_ns)));
    }
    counts["responses"] = responses;
    counts["latencies"] = latencies_of(queue);
    return counts;
}

nb::dict instance_dict(const InstanceCounters& counters) {
    nb::dict result;
    result["requests_ok"] = value_of(counters.requests_ok);
    result["requests_failed"] = value_of(counters.requests_failed);
    result["arena_used_bytes"] = value_of(counters.arena_used_bytes);
    result["arena_total_bytes"] = value_of(counters.arena_total_bytes);
    return result;
}

// ([(instance, active, busy, caller, sent, changes, waits_from_ns)],
//  [(caller, token, waiting, instance)]), as `mpserve.dispatch.deadlock` has them.
nb::tuple look(ModelQueue& queue, std::uint32_t first_caller_ring) {
    std::vector<InstanceStanding> instances;
    std::vector<CallStanding> calls;
    queue.look(first_caller_ring, instances, calls);
    nb::list instance_rows;
    for (const auto& one : instances) {
        instance_rows.append(nb::make_tuple(
            one.instance, one.active, one.busy, static_cast<std::uint32_t>(one.sent >> 32),
            static_cast<std::uint32_t>(one.sent), one.sent_changes, one.waits_from_ns));
    }
    nb::list call_rows;
    for (const auto& one : calls) {
        const auto instance =
            one.instance == kNoSlot ? -1 : static_cast<std::int64_t>(one.instance);
        call_rows.append(nb::make_tuple(one.caller, one.token, one.waiting, instance));
    }
    return nb::make_tuple(instance_rows, call_rows);
}

}  // namespace

void bind_queue(nb::module_& m) {
    nb::class_<QueueObject>(m, "ModelQueue", "Requests of one generation of one model version.")
        .def(nb::new_([](nb::object buffer) {
                 return attach_object<QueueObject>(std::move(buffer), SegmentKind::queue,
                                                   "model queue",
                                                   [](auto& object, const Segment& segment) {
                                                       return object.queue.attach(segment);
                                                   });
             }),
             "buffer"_a)
        .def_static(
            "required_bytes",
            [](std::uint32_t slots, std::uint32_t sequence_slots, bool keeps_latencies) {
                return ModelQueue::required_bytes(slots, {.slots = sequence_slots},
                                                  keeps_latencies);
            },
            "slots"_a, "sequence_slots"_a = 0, "keeps_latencies"_a = false)
        .def_static(
            "format",
            [](nb::object buffer, std::uint32_t slots, std::uint64_t generation,
               std::uint32_t sequence_slots, std::uint64_t sequence_idle_ns, bool summaries,
               const std::vector<double>& first_bounds_ms) {
                const Mapping mapping(std::move(buffer));
                ModelQueue queue;
                const LatencyRule rule{.summaries = summaries, .first_bounds_ms = first_bounds_ms};
                const bool keeps_latencies = summaries || !first_bounds_ms.empty();
                if (!queue.format(mapping.segment(), slots, generation,
                                  {.slots = sequence_slots, .idle_ns = sequence_idle_ns},
                                  keeps_latencies ? &rule : nullptr)) {
                    throw nb::value_error(
                        "slots: a positive number that fits the segment is needed");
                }
            },
            "buffer"_a, "slots"_a, "generation"_a, "sequence_slots"_a = 0, "sequence_idle_ns"_a = 0,
            "summaries"_a = false, "first_bounds_ms"_a = std::vector<double>{},
            "Make an empty queue in a zeroed segment; for a model with sequences when instances "
            "have slots for them. Latencies are kept as `summaries`, and those of first responses "
            "between these bounds.")
        .def(
            "retire", [](QueueObject& self) { self.queue.retire(); },
            "Take no more requests; instances stop when what waits is done.")
        .def(
            "retire_instance",
            [](QueueObject& self, std::uint32_t instance) { self.queue.retire_instance(instance); },
            "instance"_a, "Let one instance finish what it runs and then stop.")
        .def(
            "is_drained", [](QueueObject& self) { return self.queue.is_drained(); },
            "Nothing waits and nothing runs.")
        .def("wake_all", [](QueueObject& self) { self.queue.wake_all(); })
        .def(
            "running_since_ns",
            [](QueueObject& self, std::uint32_t instance, std::uint32_t epoch) {
                std::uint64_t since = 0;
                for (const auto& held : self.queue.held_by(instance, epoch)) {
                    if (since == 0 || held.popped_ns < since) since = held.popped_ns;
                }
                return since;
            },
            "instance"_a, "epoch"_a,
            "Since when (monotonic clock) the instance holds the request it took first; 0: none.")
        .def(
            "reap_instance",
            [](QueueObject& self, std::uint32_t instance, std::uint32_t epoch,
               const std::vector<RingObject*>& rings, const std::vector<int>& wake_fds,
               nb::object caller_ring, std::uint64_t overdue_ns) {
                const auto held = self.queue.held_by(instance, epoch);
                // Its sequences can go on nowhere else.
                const auto lost = self.queue.take_sequences_of(instance);
                const auto flags = (self.queue.has_sequences() ? kSequenceLost : 0) |
                                   (overdue_ns != 0 ? kOverdue : 0);
                const auto answer = [&](const std::vector<PoppedRequest>& requests) {
                    return answer_all(requests, Status::unavailable, rings, wake_fds, caller_ring,
                                      flags, overdue_ns);
                };
                const auto answered = answer(held) + answer(lost);
                std::uint64_t starved = 0;
                self.queue.release_reaped(instance, epoch, held, starved);
                signal_rings(starved, wake_fds);
                return answered;
            },
            "instance"_a, "epoch"_a, "rings"_a, "wake_fds"_a, "caller_ring"_a, "overdue_ns"_a,
            "Answer what a dead instance held with `UNAVAILABLE`; return how many. `overdue_ns`: "
            "the limit that one of them met, for which the instance was killed; 0: none.")
        .def(
            "reap_frontend",
            [](QueueObject& self, std::uint32_t process, std::uint32_t epoch, std::uint32_t ring) {
                if (ring < kMaxRings) {
                    self.queue.frontend_counters(ring).unpushed.store(0, std::memory_order_relaxed);
                }
                return self.queue.drop_frontend(process, epoch);
            },
            "process_index"_a, "epoch"_a, "ring"_a,
            "Drop what a dead frontend, or caller, left waiting; return how many.")
        .def(
            "answer_waiting",
            [](QueueObject& self, std::uint32_t code, const std::vector<RingObject*>& rings,
               const std::vector<int>& wake_fds, nb::object caller_ring) {
                const auto waiting = self.queue.take_waiting();
                return answer_all(waiting, static_cast<Status>(code), rings, wake_fds, caller_ring);
            },
            "code"_a, "rings"_a, "wake_fds"_a, "caller_ring"_a,
            "Answer all that waits with this `ErrorCode`: no instance will come back.")
        .def_prop_ro(
            "has_sequences", [](const QueueObject& self) { return self.queue.has_sequences(); },
            "Requests belong to sequences, each held by one instance.")
        .def(
            "live_sequences", [](QueueObject& self) { return self.queue.live_sequences(); },
            "Sequences that have not ended, or whose requests are not all done.")
        .def(
            "tell_sent",
            [](QueueObject& self, std::uint32_t instance, std::uint32_t caller,
               std::uint32_t requests, std::uint64_t waits_from_ns) {
                self.queue.tell_sent(instance, caller, requests, waits_from_ns);
            },
            "instance"_a, "caller"_a, "requests"_a, "waits_from_ns"_a,
            "An instance says how many requests of its own it waits for.")
        .def(
            "look",
            [](QueueObject& self, std::uint32_t first_caller_ring) {
                return look(self.queue, first_caller_ring);
            },
            "first_caller_ring"_a,
            nb::sig("def look(self, first_caller_ring: int) -> tuple[list[tuple[int, bool, bool, "
                    "int, int, int, int]], list[tuple[int, int, bool, int]]]"),
            "Instances and requests of workers, as `mpserve.dispatch.deadlock` has them.")
        .def(
            "depth", [](const QueueObject& self) { return self.queue.depth(); },
            "Requests that wait.")
        .def(
            "running", [](const QueueObject& self) { return self.queue.running(); },
            "Requests that instances hold.")
        .def(
            "counts", [](QueueObject& self) { return counts_of(self.queue); },
            "What was counted since the queue was made, added up over frontends and instances. "
            "`batches`: (rows, executions, input_ns, execute_ns, output_ns) of each instance.")
        .def(
            "instance_counts",
            [](QueueObject& self, std::uint32_t instance) {
                if (instance >= kMaxInstances) throw nb::index_error("no such instance");
                return instance_dict(self.queue.counters(instance));
            },
            "instance"_a, "Requests and shared memory of one instance.")
        .def_prop_ro("generation", [](const QueueObject& self) { return self.queue.generation(); });
    m.attr("MAX_INSTANCES") = kMaxInstances;
    m.attr("MAX_RINGS") = kMaxRings;
}

}  // namespace mpserve::bind
