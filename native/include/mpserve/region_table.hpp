// The regions of shared memory that clients registered, as a process that takes requests knows
// them: what a name means, where a piece of it lies, and which of them requests still use.
//
// Layout (this process's own memory)
//
//     names_: name -> {id, offset, bytes} of a registration     uses_: id -> {known, holds}
//
// Guarantees: a piece that was placed lies inside its registration. A region that was withdrawn is
//   in use until the last hold on it ends, whether its request was answered or cancelled.
// Assumes: one thread. The supervisor has checked that the memory holds what a registration says.
// Owner: a frontend; the requests in flight own the holds.
// Source: Triton's system shared memory extension.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "mpserve/message.hpp"
#include "mpserve/string_map.hpp"

namespace mpserve {

// Where in a region a client has a tensor, or wants one; not checked yet.
struct RegionUse {
    std::string_view name;
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
};

// Bytes of the memory that the registration `id` stands for; of id 0 there is none.
struct RegionPiece {
    std::uint64_t id = 0;
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
};

enum class RegionFault : std::uint8_t {
    none,
    unknown,  // there is no region of that name
    offset,   // the piece would begin behind it
    size,     // the piece is empty, or would end behind it
};

class RegionTable {
public:
    // From now on there are these, and no others; `bytes` of a registration is all of it.
    void publish(StringMap<RegionPiece> registrations);

    RegionFault place(const RegionUse& use, RegionPiece& out) const noexcept;

    // Keeps the regions of these ids, one count each, until they are let go of.
    void hold(std::span<const std::uint64_t> ids);
    // True when a region that was withdrawn is used by nobody any more.
    bool let_go(std::span<const std::uint64_t> ids) noexcept;

    // Withdrawn and still used, in order.
    std::vector<std::uint64_t> in_use() const;

private:
    struct Use {
        bool known = false;
        std::uint64_t holds = 0;
    };

    StringMap<RegionPiece> names_;
    std::unordered_map<std::uint64_t, Use> uses_;
};

// Ids of the regions that a request names, one for each tensor and output in one.
std::vector<std::uint64_t> regions_of(const MessageView& request);

}  // namespace mpserve
