// Tokens and the moments at which they are due, the earliest first.
//
// Guarantees: what is kept is at most twice as much as what was wanted when it was last looked
//   through, and `kLookFrom`: tokens that nobody wants any more do not pile up until they are due.
// Assumes: one thread.
// Owner: who waits for the moments.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

namespace mpserve {

class DueTokens {
public:
    static constexpr std::size_t kLookFrom = 1024;

    // `is_wanted(token)` says of earlier ones whether they still are.
    template <typename IsWanted>
    void add(std::uint64_t at_ns, std::uint64_t token, const IsWanted& is_wanted) {
        if (moments_.size() >= look_at_) {
            std::erase_if(moments_, [&](const Moment& one) { return !is_wanted(one.second); });
            std::ranges::make_heap(moments_, std::greater<>{});
            look_at_ = std::max(kLookFrom, 2 * moments_.size());
        }
        moments_.emplace_back(at_ns, token);
        std::ranges::push_heap(moments_, std::greater<>{});
    }
    std::size_t size() const noexcept { return moments_.size(); }
    // 0 when there is none.
    std::uint64_t next_ns() const noexcept { return moments_.empty() ? 0 : moments_.front().first; }
    // A token whose moment passed; 0 when there is none.
    std::uint64_t take(std::uint64_t now) noexcept {
        if (moments_.empty() || moments_.front().first > now) return 0;
        std::ranges::pop_heap(moments_, std::greater<>{});
        const auto token = moments_.back().second;
        moments_.pop_back();
        return token;
    }

private:
    using Moment = std::pair<std::uint64_t, std::uint64_t>;  // when, token

    std::vector<Moment> moments_;  // a heap
    std::size_t look_at_ = kLookFrom;
};

}  // namespace mpserve
