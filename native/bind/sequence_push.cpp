#include "sequence_push.hpp"

#include <algorithm>
#include <utility>

#include <nanobind/stl/string.h>

#include "dispatcher.hpp"
#include "mpserve/message.hpp"
#include "raise.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

constexpr std::uint64_t kMaxTimeoutUs = 1'000'000'000'000;  // eleven days: for ever

bool is_text(const SequenceWords& words) noexcept { return !words.text.empty(); }

}  // namespace

bool holds_sequence(const Route& route, const SequenceKey& key) noexcept {
    const auto& port = *route.port;
    return std::ranges::any_of(port.sequenced,
                               [&](const SequencedRequest& request) {
                                   return (request.mark.flags & kSequenceStart) != 0 &&
                                          request.mark.key == key;
                               }) ||
           port.queue->has_sequence(key);
}

void give_own_sequence(const SequenceTerms& terms, std::uint64_t number, std::uint64_t& id,
                       std::string& text, std::uint32_t& flags) {
    if (id != 0 || !text.empty()) return;
    flags |= kSequenceStart;
    if (terms.corrid_datatype == "BYTES") {
        text = std::to_string(number);
    } else {
        id = number;
    }
}

MarkFault make_mark(const Route& route, const SequenceWords& words,
                    std::span<const std::int64_t> first_shape, std::uint64_t timeout_us,
                    SequenceMark& mark) noexcept {
    const auto& terms = *route.sequences;
    const bool has_id = is_text(words) || words.number != 0;
    const bool wants_text = terms.corrid_datatype == "BYTES";
    if (!terms.corrid_name.empty() && has_id && is_text(words) != wants_text) {
        return MarkFault::wrong_kind;
    }
    if (!has_id) return MarkFault::no_id;
    if (rows_of(route.signature, first_shape) != 1) return MarkFault::several_rows;
    if (!mark.key.set(is_text(words) ? 0 : words.number, words.text)) return MarkFault::long_text;
    mark.flags = words.flags & (kSequenceStart | kSequenceEnd);
    // It ends when its first request is answered, and that may be executed again before.
    if (terms.iterative && (words.flags & kSequenceStart) != 0) mark.flags |= kSequenceEnd;
    mark.timeout_ns = std::min(timeout_us, kMaxTimeoutUs) * 1'000;
    return MarkFault::none;
}

void refuse_mark(MarkFault fault, const Route& route, const SequenceWords& words,
                 std::string_view request_prefix) {
    const auto& terms = *route.sequences;
    auto text = "inference request to model '" + route.model_name + "' must specify ";
    switch (fault) {
        case MarkFault::wrong_kind:
            text = std::string(request_prefix) + "sequence batching control '" + terms.corrid_name +
                   "' data-type is '" + (is_text(words) ? "BYTES" : "UINT64") + "', but model '" +
                   route.model_name + "' expects '" + terms.corrid_datatype + "'";
            break;
        case MarkFault::none:
        case MarkFault::no_id: text += "a non-zero or non-empty correlation ID"; break;
        case MarkFault::several_rows:
            text += "batch-size 1 due to requirements of sequence batcher";
            break;
        case MarkFault::long_text:
            raise("Unsupported", "string correlation ID cannot be longer than " +
                                     std::to_string(kMaxSequenceText) + " characters");
    }
    raise("InvalidRequest", text);
}

bool mark_natively(const Route& route, const SequenceWords& words,
                   std::span<const std::int64_t> first_shape, std::unique_ptr<SequenceMark>& mark) {
    mark.reset();
    if (!route.sequences) return true;
    auto made = std::make_unique<SequenceMark>();
    if (make_mark(route, words, first_shape, 0, *made) != MarkFault::none) return false;
    const bool goes_on = (made->flags & kSequenceStart) == 0;
    if (goes_on && route.has_siblings && !holds_sequence(route, made->key)) return false;
    mark = std::move(made);
    return true;
}

std::string id_text(const SequenceKey& key) {
    return key.text_bytes != 0 ? std::string(key.text_view()) : std::to_string(key.number);
}

std::string not_started_text(const Route& route, const SequenceKey& key) {
    return "inference request for sequence " + id_text(key) + " to model '" + route.model_name +
           "' must specify the START flag on the first request of the sequence";
}

void Dispatcher::line_up_sequenced(QueuePort& port, const Submission& submission,
                                   std::uint64_t token) {
    port.sequenced.push_back({.request = {.token = token,
                                          .block = submission.block.ref,
                                          .block_bytes = submission.message_bytes,
                                          .deadline_ns = 0,
                                          .shape_digest = submission.shape_digest,
                                          .level = 0,
                                          .rows = submission.rows,
                                          .on_timeout = 0},
                              .mark = *submission.mark});
}

void Dispatcher::tell_restarted(const Route& route, const SequenceKey& key) noexcept {
    if (on_restarted_.is_none()) return;
    try {
        on_restarted_(route.model_name, id_text(key));
    } catch (nb::python_error& error) {
        error.discard_as_unraisable("a sequence that was started anew");
    }
}

// Pushes what it can. What is refused is answered at once, and the rest goes on behind it.
void Dispatcher::push_sequenced(QueuePort& port) {
    const auto& queue = port.queue;
    std::vector<std::pair<SequencedRequest, SequenceRefusal>> refused;
    std::vector<std::pair<RouteRef, SequenceKey>> restarted;
    const auto places = std::min<std::size_t>(port.sequenced.size(), free_places(port));
    auto left = std::span(port.sequenced).first(places);
    while (!left.empty()) {
        const auto outcome = queue->push_sequenced(left, process_, epoch_, ring_index_);
        for (const auto& request : left.first(outcome.pushed)) {
            const auto* entry = request.restarts ? find_in_flight(request.request.token) : nullptr;
            if (entry != nullptr) restarted.emplace_back(entry->route, request.mark.key);
        }
        left = left.subspan(outcome.pushed);
        if (outcome.full) break;
        if (outcome.retired) {
            for (const auto& request : left) {
                const bool starts = (request.mark.flags & kSequenceStart) != 0;
                refused.emplace_back(request,
                                     starts ? SequenceRefusal::none : SequenceRefusal::not_started);
            }
            left = {};
        } else if (outcome.refused != SequenceRefusal::none) {
            refused.emplace_back(left.front(), outcome.refused);
            left = left.subspan(1);
        }
    }
    const auto handled = places - left.size();
    std::uint64_t bytes = 0;
    for (const auto& request : std::span(port.sequenced).first(handled)) {
        bytes += request.request.block_bytes;
    }
    leave_line(port, static_cast<std::uint32_t>(handled), bytes);
    port.sequenced.erase(port.sequenced.begin(),
                         port.sequenced.begin() + static_cast<std::ptrdiff_t>(handled));
    port.counters->unpushed.store(port.unpushed(), std::memory_order_relaxed);
    for (const auto& [route, key] : restarted) tell_restarted(*route, key);
    for (const auto& [request, why] : refused) {
        const auto* entry = find_in_flight(request.request.token);
        if (entry == nullptr) continue;
        Answer answer;
        std::string text;
        switch (why) {
            case SequenceRefusal::none: answer.status = Status::not_ready; break;
            case SequenceRefusal::not_started:
                answer.status = Status::invalid_argument;
                answer.refused = true;
                text = not_started_text(*entry->route, request.mark.key);
                break;
            case SequenceRefusal::no_room:
                answer.status = Status::exhausted;
                answer.refused = true;
                break;
        }
        if (text.empty() && !answer.refused) text = default_error(answer.status);
        answer.error = text;
        refuse(request.request.token, answer);
    }
}

}  // namespace mpserve::bind
