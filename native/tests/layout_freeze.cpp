// Freezes the layouts of everything that two processes look at. Compiling is the test: a change
// here means a new kLayoutVersion (or kMessageVersion), in the same commit.

#include <cstddef>
#include <type_traits>

#include "mpserve/arena.hpp"
#include "mpserve/board.hpp"
#include "mpserve/completion_ring.hpp"
#include "mpserve/counters.hpp"
#include "mpserve/latency_table.hpp"
#include "mpserve/message.hpp"
#include "mpserve/model_queue.hpp"
#include "mpserve/rate_limiter.hpp"
#include "mpserve/sequence_table.hpp"
#include "mpserve/trace_board.hpp"
#include "mpserve/traffic_board.hpp"

namespace mpserve {

static_assert(kLayoutVersion == 16);
static_assert(kMessageVersion == 2);

template <typename Shared>
constexpr bool is_shareable =
    std::is_standard_layout_v<Shared> && std::is_trivially_destructible_v<Shared>;

static_assert(is_shareable<SegmentHeader> && sizeof(SegmentHeader) == 64);
static_assert(offsetof(SegmentHeader, magic) == 0);
static_assert(offsetof(SegmentHeader, layout_version) == 8);
static_assert(offsetof(SegmentHeader, kind) == 12);
static_assert(offsetof(SegmentHeader, bytes) == 16);

static_assert(is_shareable<BoardHeader> && sizeof(BoardHeader) == 128);
static_assert(offsetof(BoardHeader, processes) == 64);
static_assert(offsetof(BoardHeader, deaths) == 72);
static_assert(is_shareable<BoardEntry> && sizeof(BoardEntry) == 8);

static_assert(is_shareable<RobustMutex> && sizeof(RobustMutex) == 64 && alignof(RobustMutex) == 64);

static_assert(is_shareable<RingHeader> && sizeof(RingHeader) == 320);
static_assert(offsetof(RingHeader, mutex) == 64);
static_assert(offsetof(RingHeader, tail) == 128);
static_assert(offsetof(RingHeader, head) == 192);
static_assert(offsetof(RingHeader, armed) == 256);
static_assert(offsetof(RingHeader, capacity) == 260);
static_assert(offsetof(RingHeader, arena_used_bytes) == 264);
static_assert(offsetof(RingHeader, arena_total_bytes) == 272);
static_assert(is_shareable<Completion> && sizeof(Completion) == 64);
static_assert(offsetof(Completion, token) == 0);
static_assert(offsetof(Completion, frontend_epoch) == 8);
static_assert(offsetof(Completion, status) == 12);
static_assert(offsetof(Completion, flags) == 14);
static_assert(offsetof(Completion, worker_index) == 16);
static_assert(offsetof(Completion, worker_epoch) == 20);
static_assert(offsetof(Completion, block) == 24);
static_assert(offsetof(Completion, block_bytes) == 32);
static_assert(offsetof(Completion, input_ns) == 40);
static_assert(offsetof(Completion, output_ns) == 44);
static_assert(offsetof(Completion, popped_ns) == 48);
static_assert(offsetof(Completion, execute_ns) == 56);

static_assert(is_shareable<QueueHeader> && sizeof(QueueHeader) == 256);
static_assert(offsetof(QueueHeader, mutex) == 64);
static_assert(offsetof(QueueHeader, slot_count) == 128);
static_assert(offsetof(QueueHeader, gatherer) == 156);
static_assert(offsetof(QueueHeader, idle_mask) == 160);
static_assert(offsetof(QueueHeader, generation) == 184);
static_assert(offsetof(QueueHeader, next_deadline_ns) == 192);
static_assert(offsetof(QueueHeader, expired_count) == 200);
static_assert(offsetof(QueueHeader, ordered_mask) == 208);
static_assert(offsetof(QueueHeader, latencies_offset) == 216);
static_assert(offsetof(QueueHeader, active_mask) == 224);
static_assert(offsetof(QueueHeader, usual_ns) == 232);
static_assert(offsetof(QueueHeader, taken) == 240);
static_assert(is_shareable<LatencyTable> && sizeof(LatencyTable) == 42112);
static_assert(offsetof(LatencyTable, bounds_ms) == 64);
static_assert(offsetof(LatencyTable, first) == 576);
static_assert(offsetof(LatencyTable, sum_us) == 1096);
static_assert(offsetof(LatencyTable, buckets) == 1136);
static_assert(is_shareable<InstanceEntry> && sizeof(InstanceEntry) == 192);
static_assert(offsetof(InstanceEntry, wake_word) == 0);
static_assert(offsetof(InstanceEntry, max_requests) == 16);
static_assert(offsetof(InstanceEntry, missing_rows) == 20);
static_assert(offsetof(InstanceEntry, gathered_digest) == 24);
static_assert(offsetof(InstanceEntry, look_again_ns) == 32);
static_assert(offsetof(InstanceEntry, sent) == 40);
static_assert(offsetof(InstanceEntry, sent_changes) == 48);
static_assert(offsetof(InstanceEntry, waits_from_ns) == 56);
static_assert(offsetof(InstanceEntry, counters) == 64);
static_assert(offsetof(InstanceEntry, holds) == 152);
static_assert(offsetof(InstanceEntry, moved_at) == 156);
static_assert(is_shareable<InstanceCounters> && sizeof(InstanceCounters) == 88);
static_assert(offsetof(InstanceCounters, execute_ns) == 48);
static_assert(offsetof(InstanceCounters, arena_used_bytes) == 72);
static_assert(is_shareable<FrontendCounters> && sizeof(FrontendCounters) == 64);
static_assert(offsetof(FrontendCounters, failures) == 24);
static_assert(offsetof(FrontendCounters, unpushed) == 56);
static_assert(is_shareable<BatchRow> && sizeof(BatchRow) == 64);
static_assert(offsetof(BatchRow, output_ns) == 32);
static_assert(is_shareable<ResponseRow> && sizeof(ResponseRow) == 128);
static_assert(offsetof(ResponseRow, empty_ns) == 64);
static_assert(is_shareable<QueueSlot> && sizeof(QueueSlot) == 128);
static_assert(offsetof(QueueSlot, state) == 0);
static_assert(offsetof(QueueSlot, sequence) == 32);
static_assert(offsetof(QueueSlot, request) == 56);
static_assert(offsetof(QueueSlot, cancelled) == 112);
static_assert(offsetof(QueueSlot, input) == 120);
static_assert(is_shareable<QueueRequest> && sizeof(QueueRequest) == 56);
static_assert(offsetof(QueueRequest, level) == 40);
static_assert(offsetof(QueueRequest, on_timeout) == 52);

static_assert(is_shareable<SequenceHeader> && sizeof(SequenceHeader) == 1120);
static_assert(offsetof(SequenceHeader, rule) == 8);
static_assert(offsetof(SequenceHeader, next_serial) == 24);
static_assert(offsetof(SequenceHeader, backlog) == 64);
static_assert(offsetof(SequenceHeader, instances) == 96);
static_assert(is_shareable<SequenceEntry> && sizeof(SequenceEntry) == 208);
static_assert(offsetof(SequenceEntry, ended) == 12);
static_assert(offsetof(SequenceEntry, heard_ns) == 24);
static_assert(offsetof(SequenceEntry, key) == 64);
static_assert(is_shareable<SequencedSlot> && sizeof(SequencedSlot) == 32);
static_assert(offsetof(SequencedSlot, verdict) == 16);

static_assert(is_shareable<LimiterHeader> && sizeof(LimiterHeader) == 192);
static_assert(offsetof(LimiterHeader, mutex) == 64);
static_assert(offsetof(LimiterHeader, claims_end) == 132);
static_assert(offsetof(LimiterHeader, next_turn) == 136);
static_assert(is_shareable<LimiterResource> && sizeof(LimiterResource) == 32);
static_assert(offsetof(LimiterResource, in_use) == 16);
static_assert(is_shareable<LimiterClaim> && sizeof(LimiterClaim) == 192);
static_assert(offsetof(LimiterClaim, executions) == 16);
static_assert(offsetof(LimiterClaim, needs) == 32);

static_assert(is_shareable<ArenaHeader> && sizeof(ArenaHeader) == 128);
static_assert(offsetof(ArenaHeader, returned) == 64);
static_assert(offsetof(ArenaHeader, retired) == 72);
static_assert(is_shareable<BlockHeader> && sizeof(BlockHeader) == 64);
static_assert(offsetof(BlockHeader, next_returned) == 8);
static_assert(offsetof(BlockHeader, payload_bytes) == 24);

static_assert(is_shareable<MessageHeader> && sizeof(MessageHeader) == 128);
static_assert(offsetof(MessageHeader, total_bytes) == 8);
static_assert(offsetof(MessageHeader, tensor_table_offset) == 24);
static_assert(offsetof(MessageHeader, id) == 40);
static_assert(offsetof(MessageHeader, error) == 64);
static_assert(offsetof(MessageHeader, flags) == 96);
static_assert(offsetof(MessageHeader, headers) == 112);
static_assert(is_shareable<TensorRecord> && sizeof(TensorRecord) == 64);
static_assert(is_shareable<OutputRecord> && sizeof(OutputRecord) == 48);

static_assert(is_shareable<TraceBoardHeader> && sizeof(TraceBoardHeader) == 128);
static_assert(offsetof(TraceBoardHeader, last_id) == 64);
static_assert(offsetof(TraceBoardHeader, next_ticket) == 72);
static_assert(is_shareable<TraceCount> && sizeof(TraceCount) == 64);
static_assert(offsetof(TraceCount, made) == 8);

static_assert(is_shareable<TrafficHeader> && sizeof(TrafficHeader) == 128);
static_assert(offsetof(TrafficHeader, areas) == 64);
static_assert(is_shareable<TrafficRow> && sizeof(TrafficRow) == 128);
static_assert(offsetof(TrafficRow, buckets) == 8);
static_assert(is_shareable<TrafficPlace> && sizeof(TrafficPlace) == 128);
static_assert(offsetof(TrafficPlace, sent) == 24);
static_assert(offsetof(TrafficPlace, text) == 32);
static_assert(is_shareable<TrafficArea> && sizeof(TrafficArea) == 47360);
static_assert(offsetof(TrafficArea, in_flight) == 128);
static_assert(offsetof(TrafficArea, keys) == 256);
static_assert(offsetof(TrafficArea, rows) == 2304);
static_assert(offsetof(TrafficArea, places) == 35072);

}  // namespace mpserve

int main() { return 0; }
