#include "mpserve/client_region.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <new>

namespace mpserve {

std::shared_ptr<ClientRegion> ClientRegion::open(const std::string& path) noexcept {
    const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return nullptr;
    struct stat now{};
    if (fstat(fd, &now) != 0 || !S_ISREG(now.st_mode) || now.st_size <= 0) {
        close(fd);
        return nullptr;
    }
    const auto bytes = static_cast<std::size_t>(now.st_size);
    void* const base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) {
        close(fd);
        return nullptr;
    }
    const auto entry = bus_guard::guard(static_cast<const std::byte*>(base), bytes);
    if (entry == bus_guard::kNoEntry) {
        munmap(base, bytes);
        close(fd);
        return nullptr;
    }
    return std::shared_ptr<ClientRegion>(
        new ClientRegion(fd, static_cast<std::byte*>(base), bytes, entry));
}

ClientRegion::~ClientRegion() {
    bus_guard::release(entry_);
    munmap(base_, bytes_);
    close(fd_);
}

bool ClientRegion::holds(std::uint64_t offset, std::uint64_t bytes) const noexcept {
    struct stat now{};
    if (at(offset, bytes) == nullptr || fstat(fd_, &now) != 0) return false;
    return offset + bytes <= static_cast<std::uint64_t>(now.st_size);
}

std::byte* ClientRegion::at(std::uint64_t offset, std::uint64_t bytes) const noexcept {
    if (offset > bytes_ || bytes > bytes_ - offset) return nullptr;
    return base_ + offset;
}

ClientRegionRef ClientRegions::find(std::uint64_t id, std::uint64_t offset, std::uint64_t bytes) {
    if (prefix_.empty()) return nullptr;
    const auto known = known_.find(id);
    if (known != known_.end()) {
        bus_guard::arm();
        if (known->second->is_intact() && known->second->holds(offset, bytes)) return known->second;
        known_.erase(known);
    }
    auto region = ClientRegion::open(path_of(id));
    if (region == nullptr || !region->holds(offset, bytes)) return nullptr;
    known_.emplace(id, region);
    return region;
}

void ClientRegions::forget_gone() {
    std::erase_if(known_, [this](const auto& item) {
        return access(path_of(item.first).c_str(), F_OK) != 0;
    });
}

}  // namespace mpserve
