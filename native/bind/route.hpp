// Where a frontend's requests for one version of one model go.
//
// Owner: the dispatcher's routing table; requests in flight keep theirs.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nanobind/nanobind.h>

#include "mpserve/counters.hpp"
#include "mpserve/model_queue.hpp"
#include "mpserve/push_line.hpp"
#include "mpserve/queue_policy.hpp"
#include "mpserve/share.hpp"
#include "mpserve/signature.hpp"
#include "sequence_push.hpp"

namespace mpserve::bind {

// A model queue as a frontend pushes into it.
struct QueuePort {
    nanobind::object owner;  // QueueObject
    ModelQueue* queue = nullptr;
    FrontendCounters* counters = nullptr;     // ours alone to write
    LatencyTable* latencies = nullptr;        // nullptr: not kept
    PushLine pending;                         // accepted, not yet pushed
    std::vector<SequencedRequest> sequenced;  // the same, of a model with sequences
    std::uint32_t in_flight = 0;              // accepted and not answered
    BytesInFlight bytes;                      // of them
    std::uint32_t instances = 1;              // as of the last push
    bool is_bounded = false;                  // its policy says how many may wait
    bool attended = false;                    // some wait, for whom nobody was woken
    std::uint64_t taken = 0;                  // then: `PushOutcome::taken`
    bool scheduled = false;                   // in the dispatcher's list of this turn

    std::size_t unpushed() const noexcept { return pending.size() + sequenced.size(); }
};

// Where requests for one version of one model go.
struct Route {
    std::shared_ptr<QueuePort> port;
    std::string model_name;
    std::string model_version;
    Signature signature;
    std::uint64_t generation = 0;
    QueuePolicy policy;
    bool native = true;  // false: every request is Python's to read
    bool keep_tensor_parameters = false;
    bool takes_headers = false;              // its requests carry the headers that they came with
    bool answers_streams = false;            // a stream of requests is Python's to read
    std::optional<SequenceTerms> sequences;  // of a model whose requests belong to sequences
    // A sequence may have begun in another version, or in an earlier generation.
    bool has_siblings = false;
};
using RouteRef = std::shared_ptr<const Route>;

}  // namespace mpserve::bind
