#include "mpserve/traffic_board.hpp"

#include <algorithm>
#include <cstring>

namespace mpserve {

namespace {

constexpr std::uint64_t kNsPerMs = 1'000'000;
constexpr unsigned kPlaceBit = 32;
constexpr unsigned kKindBit = 16;
constexpr std::uint64_t kStatusMask = 0xffff;

std::size_t bucket_of(std::uint64_t ns) noexcept {
    std::size_t bucket = 0;  // of nearly all
    while (bucket < kTrafficBoundsMs.size() && ns > kTrafficBoundsMs[bucket] * kNsPerMs) ++bucket;
    return bucket;
}

// The same bounds in requests: 0.005 ... 1, 2.5, 5, 7.5, 10.
std::size_t bucket_of_requests(std::uint32_t requests) noexcept {
    constexpr std::array<std::uint8_t, 11> kBuckets = {0, 9, 10, 11, 11, 11, 12, 12, 13, 13, 13};
    return requests < kBuckets.size() ? kBuckets[requests] : kTrafficBuckets - 1;
}

std::uint64_t value_of(const Counter& counter) noexcept {
    return counter.load(std::memory_order_relaxed);
}

}  // namespace

bool TrafficBoard::format(Segment segment, std::uint32_t areas) noexcept {
    if (segment.bytes() < required_bytes(areas)) return false;
    auto* header = segment.at<TrafficHeader>(0);
    if (header == nullptr) return false;
    header->areas = areas;
    segment.format(SegmentKind::traffic);
    return attach(segment);
}

bool TrafficBoard::attach(Segment segment) noexcept {
    if (segment.check(SegmentKind::traffic) != kLayoutVersion) return false;
    const auto* header = segment.at<TrafficHeader>(0);
    if (header == nullptr) return false;
    count_ = header->areas;
    areas_ = segment.at<TrafficArea>(sizeof(TrafficHeader), count_);
    return areas_ != nullptr;
}

Traffic::Traffic(TrafficArea& area) noexcept : area_(&area) {
    for (auto& count : area.in_progress) count.store(0, std::memory_order_relaxed);
}

std::uint32_t Traffic::place(TrafficKind kind, std::string_view text) noexcept {
    text = text.substr(0, kTrafficTextBytes);
    const auto key = (static_cast<std::uint64_t>(kind) + 1) << kPlaceBit | text.size();
    for (std::uint32_t index = 0; index < kTrafficPlaces; ++index) {
        auto& place = area_->places[index];
        const auto found = value_of(place.key);
        if (found == key && std::string_view(place.text.data(), text.size()) == text) return index;
        if (found != 0) continue;
        if (!text.empty()) std::memcpy(place.text.data(), text.data(), text.size());
        // Killed here: the place is still free.
        place.key.store(key, std::memory_order_release);  // COMMIT; pairs with the reader's look
        return index;
    }
    return kNoPlace;
}

void Traffic::answered(std::uint32_t place, TrafficKind kind, std::uint32_t status,
                       std::uint64_t taken_ns) noexcept {
    if (place >= kTrafficPlaces) return;
    const auto key = (std::uint64_t{place} + 1) << kPlaceBit |
                     static_cast<std::uint64_t>(kind) << kKindBit | (status & kStatusMask);
    auto& known = known_[(place * 4 + status) % known_.size()];
    if (known.key != key) known = {key, find_row(key)};
    if (known.row == nullptr) return;
    count(known.row->sum, taken_ns);
    count(known.row->buckets[bucket_of(taken_ns)], 1);
}

void Traffic::found_in_flight(std::uint32_t requests) noexcept {
    count(area_->in_flight.sum, requests);
    count(area_->in_flight.buckets[bucket_of_requests(requests)], 1);
}

// With no row left: one of the same place and kind, so that the sum over statuses stays right.
TrafficRow* Traffic::find_row(std::uint64_t key) noexcept {
    for (std::size_t index = 0; index < kTrafficRows; ++index) {
        const auto found = value_of(area_->keys[index]);
        if (found == key) return &area_->rows[index];
        if (found != 0) continue;
        area_->keys[index].store(key, std::memory_order_release);  // COMMIT; the row is all zero
        return &area_->rows[index];
    }
    const auto alike = std::ranges::find_if(area_->keys, [key](const Counter& one) {
        return value_of(one) >> kKindBit == key >> kKindBit;
    });
    if (alike == area_->keys.end()) return nullptr;
    return &area_->rows[static_cast<std::size_t>(alike - area_->keys.begin())];
}

}  // namespace mpserve
