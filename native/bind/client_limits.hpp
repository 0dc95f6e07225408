// The limits of clients as Python says them.
#pragma once

#include <nanobind/nanobind.h>

#include "mpserve/client_pace.hpp"

namespace mpserve::bind {

// Gives a config of connections `set_limits` and `look_at_pace`; `look` is the latter.
template <typename Config>
void bind_client_limits(nanobind::class_<Config>& config, void (*look)(Config&)) {
    namespace nb = nanobind;
    config.def(
        "set_limits",
        [](Config& self, std::size_t max_connections, std::uint64_t receive_secs,
           std::uint64_t send_secs, std::uint64_t idle_secs) {
            constexpr std::uint64_t kSecond = 1'000'000'000;
            self.limits = {.max_connections = max_connections,
                           .receive_ns = receive_secs * kSecond,
                           .send_ns = send_secs * kSecond,
                           .idle_ns = idle_secs * kSecond};
        },
        nb::kw_only(), nb::arg("max_connections"), nb::arg("receive_secs"), nb::arg("send_secs"),
        nb::arg("idle_secs"), "What clients may use up; before, nothing is limited.");
    config.def("look_at_pace", look,
               "End connections whose clients are too slow or idle; to be called about once a "
               "second.");
    config.def_prop_ro(
        "refused", [](const Config& self) { return self.refused; },
        "Connections that were one too many.");
}

}  // namespace mpserve::bind
