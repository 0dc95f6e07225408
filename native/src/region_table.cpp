#include "mpserve/region_table.hpp"

#include <algorithm>

namespace mpserve {

void RegionTable::publish(StringMap<RegionPiece> registrations) {
    names_ = std::move(registrations);
    for (auto& item : uses_) item.second.known = false;
    for (const auto& item : names_) uses_[item.second.id].known = true;
    std::erase_if(uses_,
                  [](const auto& item) { return !item.second.known && item.second.holds == 0; });
}

RegionFault RegionTable::place(const RegionUse& use, RegionPiece& out) const noexcept {
    const auto found = names_.find(use.name);
    if (found == names_.end()) return RegionFault::unknown;
    const auto& whole = found->second;
    if (use.offset >= whole.bytes) return RegionFault::offset;
    if (use.bytes == 0 || use.bytes > whole.bytes - use.offset) return RegionFault::size;
    out = {.id = whole.id, .offset = whole.offset + use.offset, .bytes = use.bytes};
    return RegionFault::none;
}

void RegionTable::hold(std::span<const std::uint64_t> ids) {
    for (const auto id : ids) ++uses_[id].holds;
}

bool RegionTable::let_go(std::span<const std::uint64_t> ids) noexcept {
    bool is_free = false;
    for (const auto id : ids) {
        const auto found = uses_.find(id);
        if (found == uses_.end() || found->second.holds == 0) continue;
        if (--found->second.holds != 0 || found->second.known) continue;
        uses_.erase(found);
        is_free = true;
    }
    return is_free;
}

std::vector<std::uint64_t> RegionTable::in_use() const {
    std::vector<std::uint64_t> ids;
    for (const auto& [id, use] : uses_) {
        if (!use.known) ids.push_back(id);
    }
    std::ranges::sort(ids);
    return ids;
}

std::vector<std::uint64_t> regions_of(const MessageView& request) {
    std::vector<std::uint64_t> ids;
    for (std::uint32_t index = 0; index < request.tensor_count(); ++index) {
        if (const auto id = request.tensor(index).region; id != 0) ids.push_back(id);
    }
    for (std::uint32_t index = 0; index < request.output_count(); ++index) {
        if (const auto id = request.output(index).region; id != 0) ids.push_back(id);
    }
    return ids;
}

}  // namespace mpserve
