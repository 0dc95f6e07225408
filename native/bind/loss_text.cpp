// What a client is told of a request that was lost with the worker process that held it.
#include "loss_text.hpp"

#include <array>
#include <charconv>

#include "mpserve/status.hpp"

namespace mpserve::bind {

namespace {

constexpr double kSecondNs = 1e9;
constexpr std::string_view kSequenceLostText =
    "the worker process that held the sequence ended, and the sequence with it; start it again";

std::string seconds_text(std::uint64_t ns) {
    std::array<char, 32> digits;
    const auto seconds = static_cast<double>(ns) / kSecondNs;
    return {digits.begin(), std::to_chars(digits.begin(), digits.end(), seconds).ptr};
}

}  // namespace

std::string loss_text(const Completion& completion, std::string_view model_name) {
    if (static_cast<Status>(completion.status) != Status::unavailable) return {};
    const bool in_sequence = (completion.flags & kSequenceLost) != 0;
    const bool is_overdue = (completion.flags & kOverdue) != 0;
    if (in_sequence && !is_overdue) return std::string(kSequenceLostText);
    auto text = "the worker process of model '" + std::string(model_name) + "' ";
    if (!is_overdue) return text + "ended before it answered; the request may be sent again";
    text += "was killed: an execution took longer than its max_execution_seconds of " +
            seconds_text(completion.execute_ns);
    if (in_sequence) text += "; the sequences that it held ended with it";
    return text;
}

}  // namespace mpserve::bind
