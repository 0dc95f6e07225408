#include "peer_segments.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

constexpr std::uint64_t key_of(std::uint32_t process, std::uint32_t epoch, std::uint32_t number) {
    return (std::uint64_t{process} << 48) | (std::uint64_t{epoch} << 16) | number;
}

bool is_retired(const MappingRef& mapping) noexcept {
    const auto* header = mapping->segment().at<ArenaHeader>(0);
    return header == nullptr || header->retired.load(std::memory_order_acquire) != 0;
}

}  // namespace

MappingRef PeerSegments::find(std::uint32_t process, std::uint32_t epoch, std::uint32_t number) {
    const auto key = key_of(process, epoch, number);
    const auto known = mappings_.find(key);
    if (known != mappings_.end()) {
        if (!is_retired(known->second)) return known->second;
        mappings_.erase(known);
    }
    try {
        auto mapping = std::make_shared<Mapping>(attach_(process, epoch, number));
        if (mapping->segment().check(SegmentKind::arena) != kLayoutVersion) return nullptr;
        mappings_.emplace(key, mapping);
        return mapping;
    } catch (nb::python_error& error) {
        // The owner died and its segments were swept: whoever asked treats the block as lost.
        if (!error.matches(PyExc_OSError)) throw;
        return nullptr;
    }
}

BorrowedBlock PeerSegments::borrow(std::uint32_t process, std::uint32_t epoch, BlockRef ref,
                                   std::uint64_t bytes) {
    BorrowedBlock block{.first = find(process, epoch, 0),
                        .holder = nullptr,
                        .ref = ref,
                        .data = nullptr,
                        .bytes = bytes};
    block.holder = segment_of(ref) == 0 ? block.first : find(process, epoch, segment_of(ref));
    if (block.first == nullptr || block.holder == nullptr) return {};
    block.data = lent_address(block.holder->segment(), ref, bytes);
    return block;
}

void PeerSegments::forget_gone(const Board& board) {
    const auto deaths = board.deaths();
    const bool somebody_died = deaths != deaths_seen_;
    deaths_seen_ = deaths;
    std::erase_if(mappings_, [&](const auto& item) {
        const auto process = static_cast<std::uint32_t>(item.first >> 48);
        const auto epoch = static_cast<std::uint32_t>(item.first >> 16);
        return (somebody_died && !board.is_current(process, epoch)) || is_retired(item.second);
    });
}

}  // namespace mpserve::bind
