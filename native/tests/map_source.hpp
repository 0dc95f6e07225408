// An arena's segments in memory of the test's own, of which there may be too little.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>

#include "mpserve/arena.hpp"
#include "shared_memory.hpp"

namespace mpserve::check {

class MapSource final : public SegmentSource {
public:
    Segment create(std::uint32_t number, std::uint64_t bytes) override {
        if (refuse || bytes > room - std::min(room, held())) return {};
        auto memory = std::make_shared<SharedMemory>(bytes);
        const auto segment = memory->segment();
        memories[number] = std::move(memory);
        return segment;
    }
    void remove(std::uint32_t number) override { memories.erase(number); }
    std::uint64_t held() const {
        std::uint64_t sum = 0;
        for (const auto& [number, memory] : memories) sum += memory->segment().bytes();
        return sum;
    }
    Segment segment(std::uint32_t number) { return memories.at(number)->segment(); }

    std::map<std::uint32_t, std::shared_ptr<SharedMemory>> memories;
    std::uint64_t room = UINT64_MAX;  // of the machine
    bool refuse = false;
};

// As a borrower does.
inline bool give(MapSource& source, BlockRef ref) {
    return give_back(source.segment(0), source.segment(segment_of(ref)), ref);
}

}  // namespace mpserve::check
