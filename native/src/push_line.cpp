#include "mpserve/push_line.hpp"

#include <algorithm>

namespace mpserve {

namespace {

constexpr std::size_t kKeptPushes = 1024;  // room that an empty line keeps
constexpr std::size_t kLeastMoved = 256;   // fewer in front are not worth a move of the others

}  // namespace

// Of this level, or where it would stand.
PushLine::Levels::iterator PushLine::find(std::uint64_t level) noexcept {
    return std::ranges::lower_bound(levels_, level, {}, &Level::level);
}

std::uint64_t PushLine::add(QueuePush push) {
    const auto level = push.request.level;
    auto line = find(level);
    if (line == levels_.end() || line->level != level) {
        if (size_ == 0 && !levels_.empty()) {  // its room serves any
            line = levels_.begin();
            line->level = level;
        } else {
            line = levels_.insert(line, Level{.level = level, .taken = 0, .waiting = {}});
        }
    }
    push.serial = ++last_serial_;
    push.gone = false;
    line->waiting.push_back(push);
    ++size_;
    return push.serial;
}

QueuePush* PushLine::waiting_at(std::uint64_t level, std::uint64_t serial) noexcept {
    const auto line = find(level);
    if (line == levels_.end() || line->level != level) return nullptr;
    const auto here = std::span(line->waiting).subspan(line->taken);
    const auto push = std::ranges::lower_bound(here, serial, {}, &QueuePush::serial);
    if (push == here.end() || push->serial != serial || push->gone) return nullptr;
    return &*push;
}

bool PushLine::take_back(std::uint64_t level, std::uint64_t serial) noexcept {
    auto* push = waiting_at(level, serial);
    if (push == nullptr) return false;
    push->gone = true;
    --size_;
    skip_gone(find(level));
    return true;
}

// What was taken back and stands in front is no gap any more; a level without any goes.
void PushLine::skip_gone(Levels::iterator line) noexcept {
    auto& waiting = line->waiting;
    while (line->taken < waiting.size() && waiting[line->taken].gone) ++line->taken;
    if (line->taken < waiting.size()) {
        if (line->taken < std::max(kLeastMoved, waiting.size() / 2)) return;
        waiting.erase(waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(line->taken));
        line->taken = 0;
        return;
    }
    if (levels_.size() > 1) {
        levels_.erase(line);
        return;
    }
    line->taken = 0;
    waiting.clear();
    if (waiting.capacity() > kKeptPushes) std::vector<QueuePush>().swap(waiting);
}

std::span<QueuePush> PushLine::front(std::size_t most) noexcept {
    if (size_ == 0) return {};
    auto& line = levels_.front();
    const auto next = std::span(line.waiting).subspan(line.taken);
    const auto near = next.first(std::min(most, next.size()));
    const auto gap = std::ranges::find(near, true, &QueuePush::gone);
    return near.first(static_cast<std::size_t>(gap - near.begin()));
}

void PushLine::drop(std::size_t count) noexcept {
    if (count == 0) return;
    levels_.front().taken += count;
    size_ -= count;
    skip_gone(levels_.begin());
}

}  // namespace mpserve
