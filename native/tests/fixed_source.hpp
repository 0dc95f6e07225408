// The one segment of an arena that neither grows nor lies where others map it.
#pragma once

#include <cstring>

#include "mpserve/arena.hpp"

namespace mpserve::check {

class FixedSource final : public SegmentSource {
public:
    explicit FixedSource(Segment segment) : segment_(segment) {}
    Segment create(std::uint32_t number, std::uint64_t bytes) override {
        if (number != 0 || bytes > segment_.bytes()) return {};
        std::memset(segment_.base(), 0, segment_.bytes());
        return segment_;
    }
    void remove(std::uint32_t) override {}

private:
    Segment segment_;
};

}  // namespace mpserve::check
