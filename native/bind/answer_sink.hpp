// An answer on its way from a dispatcher to whoever waits for it.
#pragma once

#include <cstdint>
#include <string_view>

#include "mpserve/completion_ring.hpp"
#include "mpserve/message.hpp"
#include "mpserve/status.hpp"
#include "peer_segments.hpp"
#include "route.hpp"

namespace mpserve::bind {

// An answer on its way to a sink. The views hold during the call.
struct Answer {
    Status status = Status::ok;
    std::string_view error{};               // when not ok
    const MessageView* request = nullptr;   // the question, in this process's arena
    const MessageView* response = nullptr;  // when ok
    BorrowedBlock* block = nullptr;         // of `response`; the sink may take it over
    const Route* route = nullptr;
    const Completion* completion = nullptr;  // nullptr: no instance has answered
    bool final = true;                       // no more answers follow
    bool refused = false;                    // the queue did not take it
    bool wants_input = false;                // no answer: the next request of the stream may come
    std::uint64_t at_ns = 0;                 // of the last answer: now, and
    std::uint64_t taken_ns = 0;              // how long ago the request was submitted
};

// Who waits for an answer: an HTTP connection or a Python callback.
class AnswerSink {
public:
    virtual ~AnswerSink() = default;
    // `tag` is what the sink gave at submission. A decoupled model gives any number of answers; an
    // answer may have neither outputs nor an error: only the mark that it is the last.
    virtual void on_answer(std::uint64_t tag, Answer& answer) = 0;
    // Writes what is ready; called after a batch of answers when `mark_dirty` asked for it.
    virtual void flush() {}
};

}  // namespace mpserve::bind
