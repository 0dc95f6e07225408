// A request of a sequence on a frontend's side: what it must say, and where it goes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "mpserve/model_queue.hpp"

namespace mpserve::bind {

struct Route;

// What requests for a model with sequences have to say of theirs.
struct SequenceTerms {
    std::string corrid_name;      // the control that tells the model the correlation id; or empty
    std::string corrid_datatype;  // as the wire names it
    // Each sequence is one request, which may be executed many times; it needs no id.
    bool iterative = false;
};

// What is not pushed yet, in order.
bool starts_here(const std::vector<SequencedRequest>& unpushed, const SequenceKey& key) noexcept;

// What a request for a model with iterative sequences gets when it has no id of its own.
void give_own_sequence(const SequenceTerms& terms, std::uint64_t number, std::uint64_t& id,
                       std::string& text, std::uint32_t& flags);

// The mark of a request for `route`. Raises `InvalidRequest` with Triton's words when the request
// can not be of a sequence.
std::unique_ptr<SequenceMark> make_mark(const Route& route, std::string_view request_prefix,
                                        std::uint64_t number, const std::string& text,
                                        std::uint32_t flags, std::uint32_t rows,
                                        std::uint64_t timeout_us);

// What is said of a request that goes on with a sequence that is not there.
std::string not_started_text(const Route& route, const SequenceKey& key);

}  // namespace mpserve::bind
