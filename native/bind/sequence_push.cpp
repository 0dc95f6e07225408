#include "sequence_push.hpp"

#include <algorithm>
#include <utility>

#include "dispatcher.hpp"
#include "mpserve/message.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

constexpr std::uint64_t kMaxTimeoutUs = 1'000'000'000'000;  // eleven days: for ever

[[noreturn]] void refuse(const std::string& message) {
    const auto exception = nb::module_::import_("mpserve.errors").attr("InvalidRequest");
    PyErr_SetString(exception.ptr(), message.c_str());
    throw nb::python_error();
}

}  // namespace

bool starts_here(const std::vector<SequencedRequest>& unpushed, const SequenceKey& key) noexcept {
    return std::ranges::any_of(unpushed, [&](const SequencedRequest& request) {
        return (request.mark.flags & kSequenceStart) != 0 && request.mark.key == key;
    });
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

std::unique_ptr<SequenceMark> make_mark(const Route& route, std::string_view request_prefix,
                                        std::uint64_t number, const std::string& text,
                                        std::uint32_t flags, std::uint32_t rows,
                                        std::uint64_t timeout_us) {
    const auto& terms = *route.sequences;
    const bool is_text = !text.empty();
    const bool wants_text = terms.corrid_datatype == "BYTES";
    if (!terms.corrid_name.empty() && (is_text || number != 0) && is_text != wants_text) {
        refuse(std::string(request_prefix) + "sequence batching control '" + terms.corrid_name +
               "' data-type is '" + (is_text ? "BYTES" : "UINT64") + "', but model '" +
               route.model_name + "' expects '" + terms.corrid_datatype + "'");
    }
    if (!is_text && number == 0) {
        refuse("inference request to model '" + route.model_name +
               "' must specify a non-zero or non-empty correlation ID");
    }
    if (rows != 1) {
        refuse("inference request to model '" + route.model_name +
               "' must specify batch-size 1 due to requirements of sequence batcher");
    }
    auto mark = std::make_unique<SequenceMark>();
    if (!mark->key.set(is_text ? 0 : number, text)) {
        refuse("string correlation ID cannot be longer than " + std::to_string(kMaxSequenceText) +
               " characters");
    }
    mark->flags = flags & (kSequenceStart | kSequenceEnd);
    // It ends when its first request is answered, and that may be executed again before.
    if (terms.iterative && (flags & kSequenceStart) != 0) mark->flags |= kSequenceEnd;
    mark->timeout_ns = std::min(timeout_us, kMaxTimeoutUs) * 1'000;
    return mark;
}

std::string not_started_text(const Route& route, const SequenceKey& key) {
    const auto id = key.text_bytes != 0 ? std::string(key.text_view()) : std::to_string(key.number);
    return "inference request for sequence " + id + " to model '" + route.model_name +
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

// Pushes what it can. What is refused is answered at once, and the rest goes on behind it.
void Dispatcher::push_sequenced(QueuePort& port) {
    const auto& queue = port.queue;
    std::vector<std::pair<SequencedRequest, SequenceRefusal>> refused;
    std::span<const SequencedRequest> left(port.sequenced);
    while (!left.empty()) {
        const auto outcome = queue->push_sequenced(left, process_, epoch_, ring_index_);
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
    port.sequenced.erase(port.sequenced.begin(),
                         port.sequenced.end() - static_cast<std::ptrdiff_t>(left.size()));
    port.counters->unpushed.store(port.unpushed(), std::memory_order_relaxed);
    for (const auto& [request, why] : refused) {
        const auto* entry = find_in_flight(request.request.token);
        if (entry == nullptr) continue;
        Answer answer;
        std::string text;
        switch (why) {
            case SequenceRefusal::none: answer.status = Status::not_ready; break;
            case SequenceRefusal::not_started:
                answer.status = Status::invalid_argument;
                text = not_started_text(*entry->route, request.mark.key);
                break;
            case SequenceRefusal::no_room:
                answer.status = Status::exhausted;
                answer.refused = true;
                break;
        }
        answer.error = text.empty() ? default_error(answer.status) : std::string_view(text);
        refuse(request.request.token, answer);
    }
}

}  // namespace mpserve::bind
