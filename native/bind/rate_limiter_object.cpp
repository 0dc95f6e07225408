#include "rate_limiter_object.hpp"

#include <utility>
#include <vector>

#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

namespace nb = nanobind;
using namespace nb::literals;

namespace mpserve::bind {

namespace {

using Needs = std::vector<std::pair<std::uint64_t, std::uint32_t>>;  // key, count

bool enrol(LimiterObject& self, std::uint32_t process, std::uint32_t epoch, std::uint32_t priority,
           const Needs& given) {
    std::vector<ResourceNeed> needs;
    for (const auto& [key, count] : given) {
        needs.push_back({.key = key, .count = count, .reserved_ = 0});
    }
    return self.limiter.enrol(process, epoch, priority, needs);
}

}  // namespace

void bind_rate_limiter(nb::module_& m) {
    nb::class_<LimiterObject>(m, "RateLimiter", "Resources that executions of all models share.")
        .def(nb::new_([](nb::object buffer) {
                 auto object = std::make_unique<LimiterObject>();
                 object->mapping = std::make_shared<Mapping>(std::move(buffer));
                 if (!object->limiter.attach(object->mapping->segment())) {
                     throw nb::value_error("rate limiter: the segment has another layout");
                 }
                 return object.release();
             }),
             "buffer"_a)
        .def_static("required_bytes", &RateLimiter::required_bytes, "processes"_a)
        .def_static(
            "format",
            [](nb::object buffer, std::uint32_t processes) {
                const Mapping mapping(std::move(buffer));
                RateLimiter limiter;
                if (!limiter.format(mapping.segment(), processes)) {
                    throw nb::value_error("processes: a number that fits the segment is needed");
                }
            },
            "buffer"_a, "processes"_a, "Make an empty limiter in a zeroed segment.")
        .def(
            "set_limit",
            [](LimiterObject& self, std::uint64_t key, std::uint32_t limit) {
                return self.limiter.set_limit(key, limit);
            },
            "key"_a, "limit"_a, "False when there are too many resources.")
        .def("enrol", &enrol, "process_index"_a, "epoch"_a, "priority"_a, "needs"_a,
             "A worker is about to start; `needs`: (key, count) each. False when there are too "
             "many resources.")
        .def(
            "withdraw",
            [](LimiterObject& self, std::uint32_t process) { self.limiter.withdraw(process); },
            "process_index"_a, "The process is dead: what it held is free.")
        .def(
            "in_use",
            [](LimiterObject& self, std::uint64_t key) { return self.limiter.in_use(key); },
            "key"_a)
        .def(
            "limit", [](LimiterObject& self, std::uint64_t key) { return self.limiter.limit(key); },
            "key"_a);
    m.attr("MAX_NEEDS") = kMaxNeeds;
}

}  // namespace mpserve::bind
