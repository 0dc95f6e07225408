// Regions of clients' shared memory that popped requests use.

#include <algorithm>

#include "instance_port.hpp"

namespace mpserve::bind {

bool PoppedLease::take_region(ClientRegions& known, std::uint64_t id, std::uint64_t offset,
                              std::uint64_t bytes) {
    auto region = known.find(id, offset, bytes);
    if (region == nullptr) return false;
    regions_.push_back({id, std::move(region)});
    return true;
}

bool PoppedLease::take_regions(const MessageView& request, ClientRegions& known) {
    for (std::uint32_t index = 0; index < request.tensor_count(); ++index) {
        const auto tensor = request.tensor(index);
        if (tensor.region != 0 &&
            !take_region(known, tensor.region, tensor.data_offset, tensor.data_bytes)) {
            return false;
        }
    }
    for (std::uint32_t index = 0; index < request.output_count(); ++index) {
        const auto output = request.output(index);
        if (output.region != 0 &&
            !take_region(known, output.region, output.region_offset, output.region_bytes)) {
            return false;
        }
    }
    return true;
}

std::byte* PoppedLease::region_at(std::uint64_t region, std::uint64_t offset,
                                  std::uint64_t bytes) const noexcept {
    for (const auto& used : regions_) {
        if (used.id == region) return used.region->at(offset, bytes);
    }
    return nullptr;
}

bool PoppedLease::regions_are_intact() const noexcept {
    return std::ranges::all_of(regions_, [](const auto& used) { return used.region->is_intact(); });
}

}  // namespace mpserve::bind
