// What clients asked of the server, by place, kind and status: the counts behind the metrics of its
// wires.
//
// Layout
//
//     TrafficHeader | TrafficArea[areas]
//
// Each frontend has one area. A place is a route of HTTP, its variable parts named and not filled
// in, or a method of gRPC. It is kept as text, so that a reader needs no table of a dialect. A row
// counts the answers of one place, kind and status by what they took.
//
// Guarantees
//   - Each word has one writer at a time, so that counting is a load and a store without a lock
//     prefix. No count ever goes down while the segment lives: a successor goes on with the area
//     of its predecessor, and only what was in progress begins anew.
//   - A row and a place are seen whole or not at all: their keys are stored last.
// Assumes: readers add up words that are not of one instant; each for itself is exact.
// Owner: the supervisor makes it; the frontend of an index writes its area.
// After a death: at most the requests that were being counted are missing.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "mpserve/counters.hpp"
#include "mpserve/http_head.hpp"
#include "mpserve/segment.hpp"

namespace mpserve {

inline constexpr std::uint32_t kTrafficRows = 256;
inline constexpr std::uint32_t kTrafficPlaces = 96;
inline constexpr std::uint32_t kTrafficTextBytes = 96;
inline constexpr std::uint32_t kNoPlace = UINT32_MAX;

// A method of HTTP, in the order of `HttpMethod`, or a type of gRPC call.
enum class TrafficKind : std::uint8_t {
    get,
    post,
    put,
    head,
    delete_,
    options,
    patch,
    other,
    unary,
    server_streaming,
    bidi_streaming
};
inline constexpr std::size_t kTrafficKinds = 11;

constexpr TrafficKind traffic_kind(HttpMethod method) noexcept {
    return static_cast<TrafficKind>(method);
}
static_assert(traffic_kind(HttpMethod::other) == TrafficKind::other);

// Upper bounds of the buckets, in milliseconds; the last bucket has none. Those of the Python
// client for Prometheus, which are MLServer's.
inline constexpr std::array<std::uint32_t, 14> kTrafficBoundsMs = {
    5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000};
inline constexpr std::size_t kTrafficBuckets = kTrafficBoundsMs.size() + 1;

// The sum and its first seven buckets, where nearly all requests are, lie on one cache line.
struct alignas(64) TrafficRow {
    Counter sum;  // nanoseconds; of `in_flight`, requests
    std::array<Counter, kTrafficBuckets> buckets;
};
static_assert(sizeof(TrafficRow) == 128);

struct alignas(64) TrafficPlace {
    Counter key;       // (kind + 1) << 32 | bytes of the text; 0 for a free place
    Counter started;   // of gRPC: calls, and the messages of streams
    Counter received;  //
    Counter sent;      //
    std::array<char, kTrafficTextBytes> text;
};
static_assert(sizeof(TrafficPlace) == 128);

struct alignas(64) TrafficArea {
    std::array<Counter, kTrafficKinds> in_progress;  // what there is, no count
    TrafficRow in_flight;                            // requests for models, as each found them
    std::array<Counter, kTrafficRows> keys;  // (place + 1) << 32 | kind << 16 | status; 0: free
    std::array<TrafficRow, kTrafficRows> rows;
    std::array<TrafficPlace, kTrafficPlaces> places;
};
static_assert(sizeof(TrafficArea) % 64 == 0);

struct TrafficHeader {
    SegmentHeader segment;
    std::uint32_t areas;
    std::uint32_t reserved_[15];
};
static_assert(sizeof(TrafficHeader) == 128);

class TrafficBoard {
public:
    static constexpr std::uint64_t required_bytes(std::uint32_t areas) noexcept {
        return sizeof(TrafficHeader) + areas * sizeof(TrafficArea);
    }
    bool format(Segment segment, std::uint32_t areas) noexcept;
    bool attach(Segment segment) noexcept;

    std::uint32_t areas() const noexcept { return count_; }
    TrafficArea& area(std::uint32_t index) noexcept { return areas_[index]; }

private:
    TrafficArea* areas_ = nullptr;
    std::uint32_t count_ = 0;
};

// One frontend's hand on its area. Made without one, it counts nothing.
class Traffic {
public:
    Traffic() noexcept = default;
    // Takes the area over from a predecessor, whose requests are in progress no more.
    explicit Traffic(TrafficArea& area) noexcept;

    bool is_on() const noexcept { return area_ != nullptr; }

    // The place of this text, made at first use; a text that is too long is cut. `kNoPlace` when
    // there are as many as there may be.
    std::uint32_t place(TrafficKind kind, std::string_view text) noexcept;

    void begin(TrafficKind kind) noexcept { count(in_progress(kind), 1); }
    void end(TrafficKind kind) noexcept { count(in_progress(kind), ~std::uint64_t{0}); }
    // Nothing where there is no place.
    void answered(std::uint32_t place, TrafficKind kind, std::uint32_t status,
                  std::uint64_t taken_ns) noexcept;
    // A request for a model is on its way, with itself so many.
    void found_in_flight(std::uint32_t requests) noexcept;

    void call_began(std::uint32_t place) noexcept { add(place, &TrafficPlace::started); }
    void message_received(std::uint32_t place) noexcept { add(place, &TrafficPlace::received); }
    void message_sent(std::uint32_t place) noexcept { add(place, &TrafficPlace::sent); }

private:
    struct Known {
        std::uint64_t key = 0;
        TrafficRow* row = nullptr;
    };

    Counter& in_progress(TrafficKind kind) noexcept {
        return area_->in_progress[static_cast<std::size_t>(kind)];
    }
    void add(std::uint32_t place, Counter TrafficPlace::* counter) noexcept {
        if (place < kTrafficPlaces) count(area_->places[place].*counter, 1);
    }
    TrafficRow* find_row(std::uint64_t key) noexcept;

    TrafficArea* area_ = nullptr;
    std::array<Known, 16> known_{};  // rows that were used last
};

}  // namespace mpserve
