// A request of a sequence on a frontend's side: what it must say, and where it goes. All ways in,
// the native ones and Python's, end in `make_mark` and in the push.
// Source: docs/adr/0024-native-sequences.md.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mpserve/model_queue.hpp"
#include "mpserve/sequence_words.hpp"

namespace mpserve::bind {

struct Route;
struct Submission;

// What requests for a model with sequences have to say of theirs.
struct SequenceTerms {
    std::string corrid_name;      // the control that tells the model the correlation id; or empty
    std::string corrid_datatype;  // as the wire names it
    // Each sequence is one request, which may be executed many times; it needs no id.
    bool iterative = false;
};

// Whether a request of this id would go on with a sequence that has started, or will with what is
// not pushed yet.
bool holds_sequence(const Route& route, const SequenceKey& key) noexcept;

// What a request for a model with iterative sequences gets when it has no id of its own.
void give_own_sequence(const SequenceTerms& terms, std::uint64_t number, std::uint64_t& id,
                       std::string& text, std::uint32_t& flags);

// Why a request can not be of a sequence.
enum class MarkFault : std::uint8_t { none, wrong_kind, no_id, several_rows, long_text };

// The mark of a request whose first input has this shape.
MarkFault make_mark(const Route& route, const SequenceWords& words,
                    std::span<const std::int64_t> first_shape, std::uint64_t timeout_us,
                    SequenceMark& mark) noexcept;

// Raises `InvalidRequest` with Triton's words.
[[noreturn]] void refuse_mark(MarkFault fault, const Route& route, const SequenceWords& words,
                              std::string_view request_prefix);

// Marks a request that the core has read, if its route has sequences. False: it is for Python to
// read, which refuses it or finds who holds the sequence.
bool mark_natively(const Route& route, const SequenceWords& words,
                   std::span<const std::int64_t> first_shape, std::unique_ptr<SequenceMark>& mark);

// A correlation id as people read it.
std::string id_text(const SequenceKey& key);

// What is said of a request that goes on with a sequence that is not there.
std::string not_started_text(const Route& route, const SequenceKey& key);

}  // namespace mpserve::bind
