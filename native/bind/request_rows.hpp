// Requests as Python gives them: rows of tensors and outputs, written into a block as a message.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <nanobind/nanobind.h>

#include "dispatcher.hpp"

namespace mpserve::bind {

// Counts a request that fits the model and finds no room; it has no duration.
void count_refusal(const Route& route) noexcept;

// Writes a request message from Python's tensors. The block is released when it does not fit.
Submission write_request(Dispatcher& dispatcher, const RouteRef& route, nanobind::handle inputs,
                         nanobind::handle outputs, const std::optional<std::string>& request_id,
                         const std::string& parameters, std::uint32_t flags,
                         std::uint64_t sequence_id, std::string sequence_text,
                         std::uint64_t priority, std::uint64_t timeout_us,
                         std::uint64_t deadline_ns, const std::string& trace_context,
                         std::string_view headers);

}  // namespace mpserve::bind
