#include "mpserve/rate_limiter.hpp"

#include <algorithm>
#include <tuple>

#include "mpserve/wake.hpp"

namespace mpserve {

namespace {

ClaimState state_of(const LimiterClaim& claim) noexcept {
    return static_cast<ClaimState>(claim.state);
}

void set_state(LimiterClaim& claim, ClaimState state) noexcept {
    claim.state = static_cast<std::uint32_t>(state);
}

// What has no priority counts as the most urgent.
auto turn_of(const LimiterClaim& claim) noexcept {
    return std::tuple{std::max(claim.priority, 1U) * claim.executions, claim.turn};
}

}  // namespace

bool RateLimiter::format(Segment segment, std::uint32_t processes) noexcept {
    if (processes == 0 || segment.bytes() < required_bytes(processes)) return false;
    auto* header = segment.at<LimiterHeader>(0);
    header->processes = processes;
    if (!header->mutex.initialise()) return false;
    segment.format(SegmentKind::limiter);
    return attach(segment);
}

bool RateLimiter::attach(Segment segment) noexcept {
    if (segment.check(SegmentKind::limiter) != kLayoutVersion) return false;
    header_ = segment.at<LimiterHeader>(0);
    if (header_ == nullptr) return false;
    processes_ = header_->processes;
    resources_ = segment.at<LimiterResource>(sizeof(LimiterHeader), kMaxResources);
    claims_ = segment.at<LimiterClaim>(kClaimsOffset, processes_);
    return resources_ != nullptr && claims_ != nullptr;
}

LimiterResource* RateLimiter::find(std::uint64_t key) noexcept {
    auto* end = resources_ + kMaxResources;
    auto* found = std::find_if(resources_, end, [key](const auto& one) { return one.key == key; });
    return found == end ? nullptr : found;
}

LimiterResource* RateLimiter::find_or_make(std::uint64_t key) noexcept {
    if (auto* found = find(key)) return found;
    auto* made = find(0);
    if (made != nullptr) *made = {.key = key, .limit = 0, .most = 0, .in_use = 0, .reserved_ = {}};
    return made;
}

std::uint32_t RateLimiter::limit_of(const LimiterResource& resource) noexcept {
    return resource.limit != 0 ? resource.limit : resource.most;
}

void RateLimiter::add(const LimiterClaim& claim) noexcept {
    for (const auto& need : claim.needs) {
        if (need.key != 0) find(need.key)->in_use += need.count;
    }
}

void RateLimiter::subtract(const LimiterClaim& claim) noexcept {
    for (const auto& need : claim.needs) {
        if (need.key != 0) find(need.key)->in_use -= need.count;
    }
}

// The claims are the truth.
void RateLimiter::repair() noexcept {
    for (std::uint32_t index = 0; index < kMaxResources; ++index) resources_[index].in_use = 0;
    for (std::uint32_t process = 0; process < header_->claims_end; ++process) {
        if (state_of(claims_[process]) == ClaimState::holding) add(claims_[process]);
    }
    count_most();
    grant();
}

void RateLimiter::count_most() noexcept {
    for (std::uint32_t index = 0; index < kMaxResources; ++index) resources_[index].most = 0;
    for (std::uint32_t process = 0; process < header_->claims_end; ++process) {
        if (state_of(claims_[process]) == ClaimState::absent) continue;
        for (const auto& need : claims_[process].needs) {
            if (need.key == 0) continue;
            auto& most = find(need.key)->most;
            most = std::max(most, need.count);
        }
    }
}

std::uint64_t RateLimiter::mask_of(const LimiterClaim& claim) noexcept {
    std::uint64_t mask = 0;
    for (const auto& need : claim.needs) {
        if (need.key != 0) mask |= std::uint64_t{1} << (find(need.key) - resources_);
    }
    return mask;
}

// `kept` are resources that somebody in front waits for.
bool RateLimiter::fits(const LimiterClaim& claim, std::uint64_t kept) noexcept {
    if ((mask_of(claim) & kept) != 0) return false;
    return std::all_of(claim.needs.begin(), claim.needs.end(), [this](const auto& need) {
        if (need.key == 0) return true;
        const auto& resource = *find(need.key);
        return resource.in_use + need.count <= limit_of(resource);
    });
}

void RateLimiter::grant() noexcept {
    std::uint64_t kept = 0;
    std::tuple<std::uint64_t, std::uint64_t> after{0, 0};
    for (;;) {
        LimiterClaim* next = nullptr;
        for (std::uint32_t process = 0; process < header_->claims_end; ++process) {
            auto& claim = claims_[process];
            if (state_of(claim) != ClaimState::waiting || turn_of(claim) <= after) continue;
            if (next == nullptr || turn_of(claim) < turn_of(*next)) next = &claim;
        }
        if (next == nullptr) return;
        after = turn_of(*next);
        if (!fits(*next, kept)) {
            kept |= mask_of(*next);
            continue;
        }
        add(*next);
        set_state(*next, ClaimState::holding);  // COMMIT; killed before: `repair` grants it
        next->wake_word.fetch_add(1, std::memory_order_release);
        futex_wake(next->wake_word);
    }
}

bool RateLimiter::set_limit(std::uint64_t key, std::uint32_t limit) noexcept {
    const RobustLock lock(header_->mutex);
    if (lock.recovered()) repair();
    auto* resource = find_or_make(key);
    if (resource == nullptr) return false;
    resource->limit = limit;
    return true;
}

bool RateLimiter::enrol(std::uint32_t process, std::uint32_t epoch, std::uint32_t priority,
                        std::span<const ResourceNeed> needs) noexcept {
    if (process >= processes_ || needs.size() > kMaxNeeds) return false;
    const RobustLock lock(header_->mutex);
    if (lock.recovered()) repair();
    for (const auto& need : needs) {
        if (find_or_make(need.key) == nullptr) return false;
    }
    header_->claims_end = std::max(header_->claims_end, process + 1);
    auto& claim = claims_[process];
    claim.epoch = epoch;
    claim.priority = priority;
    claim.executions = 0;
    claim.needs = {};
    std::copy(needs.begin(), needs.end(), claim.needs.begin());
    set_state(claim, ClaimState::idle);
    count_most();
    grant();  // what is needed may be more now
    return true;
}

void RateLimiter::withdraw(std::uint32_t process) noexcept {
    if (process >= processes_) return;
    const RobustLock lock(header_->mutex);
    if (lock.recovered()) repair();
    auto& claim = claims_[process];
    if (state_of(claim) == ClaimState::absent) return;
    if (state_of(claim) == ClaimState::holding) subtract(claim);
    set_state(claim, ClaimState::absent);
    count_most();
    grant();
}

void RateLimiter::wait(LimiterClaim& claim) noexcept {
    claim.turn = ++header_->next_turn;
    set_state(claim, ClaimState::waiting);
    grant();
}

bool RateLimiter::acquire(std::uint32_t process, std::uint32_t& wake_seen) noexcept {
    const RobustLock lock(header_->mutex);
    if (lock.recovered()) repair();
    auto& claim = claims_[process];
    if (state_of(claim) == ClaimState::idle) wait(claim);
    wake_seen = claim.wake_word.load(std::memory_order_relaxed);
    return state_of(claim) == ClaimState::holding;
}

void RateLimiter::release(std::uint32_t process, bool executed) noexcept {
    const RobustLock lock(header_->mutex);
    if (lock.recovered()) repair();
    auto& claim = claims_[process];
    const auto state = state_of(claim);
    if (state != ClaimState::holding && state != ClaimState::waiting) return;
    if (state == ClaimState::holding) subtract(claim);
    set_state(claim, ClaimState::idle);
    if (executed) ++claim.executions;
    grant();
}

bool RateLimiter::renew(std::uint32_t process) noexcept {
    const RobustLock lock(header_->mutex);
    if (lock.recovered()) repair();
    auto& claim = claims_[process];
    if (state_of(claim) != ClaimState::holding) return false;
    subtract(claim);
    ++claim.executions;
    wait(claim);
    return state_of(claim) == ClaimState::holding;
}

std::uint32_t RateLimiter::in_use(std::uint64_t key) noexcept {
    const RobustLock lock(header_->mutex);
    if (lock.recovered()) repair();
    const auto* resource = find(key);
    return resource == nullptr ? 0 : resource->in_use;
}

std::uint32_t RateLimiter::limit(std::uint64_t key) noexcept {
    const RobustLock lock(header_->mutex);
    if (lock.recovered()) repair();
    const auto* resource = find(key);
    return resource == nullptr ? 0 : limit_of(*resource);
}

}  // namespace mpserve
