// Shared memory that a client registered, as a worker sees it.
//
// The supervisor gives each registration a name of its own, `<prefix><id>`: a hard link to the
// client's file. So the id, which is never used twice, always means the same memory, also when the
// client has removed its name or given it to other memory.
//
// Guarantees: `at` yields places inside the mapping only. A file that its owner cuts off later does
//   not end this process (bus_guard.hpp); `is_intact` tells.
// Assumes: what is in the memory may change at any time: it is the client's.
// Owner: ClientRegions has one reference, each request that uses the region another.
// After a death: the name belongs to the supervisor, which removes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

#include "mpserve/bus_guard.hpp"

namespace mpserve {

class ClientRegion {
public:
    // nullptr when there is no such file, or it can not be mapped.
    static std::shared_ptr<ClientRegion> open(const std::string& path) noexcept;
    ~ClientRegion();
    ClientRegion(const ClientRegion&) = delete;
    ClientRegion& operator=(const ClientRegion&) = delete;

    // Whether the file, as long as it is now, holds these bytes, and so does the mapping.
    bool holds(std::uint64_t offset, std::uint64_t bytes) const noexcept;
    // nullptr when they do not lie inside the mapping.
    std::byte* at(std::uint64_t offset, std::uint64_t bytes) const noexcept;
    bool is_intact() const noexcept { return !bus_guard::is_broken(entry_); }

private:
    ClientRegion(int fd, std::byte* base, std::uint64_t bytes, std::uint32_t entry) noexcept
        : fd_(fd), base_(base), bytes_(bytes), entry_(entry) {}

    int fd_;
    std::byte* base_;
    std::uint64_t bytes_;
    std::uint32_t entry_;
};

using ClientRegionRef = std::shared_ptr<ClientRegion>;

// The regions that a process has met.
class ClientRegions {
public:
    // `prefix` is the path of a region without its id; "" when clients may register none.
    explicit ClientRegions(std::string prefix) : prefix_(std::move(prefix)) {}

    // The region, which holds these bytes; nullptr when it is gone, or does not hold them. It is
    // mapped anew where its owner has cut it off and made it larger again.
    ClientRegionRef find(std::uint64_t id, std::uint64_t offset, std::uint64_t bytes);
    // Lets go of those whose registration has ended.
    void forget_gone();
    std::size_t size() const noexcept { return known_.size(); }

private:
    std::string path_of(std::uint64_t id) const { return prefix_ + std::to_string(id); }

    std::string prefix_;
    std::unordered_map<std::uint64_t, ClientRegionRef> known_;
};

}  // namespace mpserve
