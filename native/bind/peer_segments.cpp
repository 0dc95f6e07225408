#include "peer_segments.hpp"

#include <algorithm>

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

constexpr std::uint64_t key_of(std::uint32_t process, std::uint32_t epoch, std::uint32_t number) {
    return (std::uint64_t{process} << 48) | (std::uint64_t{epoch} << 16) | number;
}

constexpr std::uint32_t number_in(std::uint64_t key) { return key & 0xffff; }

bool is_retired(const MappingRef& mapping) noexcept {
    const auto* header = mapping->segment().at<ArenaHeader>(0);
    return header == nullptr || header->retired.load(std::memory_order_acquire) != 0;
}

}  // namespace

const MappingRef* PeerSegments::find(std::uint32_t process, std::uint32_t epoch,
                                     std::uint32_t number) {
    const auto key = key_of(process, epoch, number);
    const auto known = peers_.find(key);
    if (known != peers_.end()) {
        if (!is_retired(known->second)) return &known->second;
        peers_.erase(known);
    }
    try {
        auto mapping = std::make_shared<Mapping>(attach_(process, epoch, number));
        if (mapping->segment().check(SegmentKind::arena) != kLayoutVersion) return nullptr;
        return &peers_.emplace(key, std::move(mapping)).first->second;
    } catch (nb::python_error& error) {
        // The owner died and its segments were swept: whoever asked treats the block as lost.
        if (!error.matches(PyExc_OSError)) throw;
        return nullptr;
    }
}

BorrowedBlock PeerSegments::borrow(std::uint32_t process, std::uint32_t epoch, BlockRef ref,
                                   std::uint64_t bytes) {
    // Another entry may move none: the map keeps its nodes.
    const auto* first = find(process, epoch, 0);
    const auto* holder = segment_of(ref) == 0 ? first : find(process, epoch, segment_of(ref));
    if (first == nullptr || holder == nullptr) return {};
    return {.first = *first,
            .holder = *holder,
            .ref = ref,
            .data = lent_address((*holder)->segment(), ref, bytes),
            .bytes = bytes};
}

bool PeerSegments::may_go() const noexcept {
    return std::ranges::any_of(peers_, [](const auto& item) { return number_in(item.first) != 0; });
}

void PeerSegments::forget_gone(const Board& board) {
    const auto deaths = board.deaths();
    const bool somebody_died = deaths != deaths_seen_;
    deaths_seen_ = deaths;
    std::erase_if(peers_, [&](const auto& item) {
        const auto process = static_cast<std::uint32_t>(item.first >> 48);
        const auto epoch = static_cast<std::uint32_t>(item.first >> 16);
        return (somebody_died && !board.is_current(process, epoch)) || is_retired(item.second);
    });
}

}  // namespace mpserve::bind
