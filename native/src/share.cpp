#include "mpserve/share.hpp"

#include <algorithm>
#include <map>
#include <tuple>

namespace mpserve {

std::size_t fitting(std::span<const QueuePush> next, std::uint64_t left,
                    std::size_t at_least) noexcept {
    std::size_t count = 0;
    for (std::uint64_t sum = 0; count < next.size(); ++count) {
        sum += next[count].request.block_bytes;
        if (sum > left && count >= at_least) break;
    }
    return count;
}

std::vector<std::uint64_t> who_give_way(std::vector<Waiting> waiting, std::uint64_t lacking,
                                        std::uint64_t wanting) {
    std::ranges::sort(waiting, std::ranges::greater{}, [](const Waiting& one) {
        return std::tuple(one.held, one.model, one.came_ns, one.token);
    });
    std::vector<std::uint64_t> tokens;
    std::map<const void*, std::uint64_t> given;
    std::uint64_t freed = 0;
    for (const auto& one : waiting) {
        if (freed >= lacking) break;
        auto& gave = given[one.model];
        if (one.held < gave + one.bytes + wanting) continue;
        gave += one.bytes;
        freed += one.bytes;
        tokens.push_back(one.token);
    }
    if (freed < lacking) tokens.clear();
    return tokens;
}

}  // namespace mpserve
