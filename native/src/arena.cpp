#include "mpserve/arena.hpp"

#include <algorithm>
#include <bit>

namespace mpserve {

namespace {

constexpr std::uint64_t kLargestSlab = 4ULL << 20;
// Unused large segments kept for the next large tensor, or half of the arena if that is more: the
// next tensor may be as large as the last, and a new segment costs its pages. Above it a quarter of
// them goes at once; all go when none was asked for in a while (`trim_idle`).
constexpr std::uint64_t kCachedLargeBytes = 64ULL << 20;
constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kTaken = (1ULL << 32) + 1;  // one more time, and one more block in use

std::uint32_t class_of(std::uint64_t bytes) noexcept {
    return std::max<std::uint32_t>(kSmallestClass,
                                   static_cast<std::uint32_t>(std::bit_width(bytes - 1)));
}

// Of the segment of one block, header included.
std::uint64_t segment_bytes(std::uint64_t block_bytes) noexcept {
    return align_up(block_bytes + sizeof(ArenaHeader), kPage);
}

}  // namespace

Arena::Arena(SegmentSource& source, std::uint64_t initial_bytes, std::uint64_t max_bytes)
    : source_(source),
      initial_bytes_(align_up(std::max<std::uint64_t>(initial_bytes, kPage), kPage)),
      max_bytes_(max_bytes),
      cache_limit_(std::max(kCachedLargeBytes, max_bytes / 2)) {}

std::uint64_t Arena::room() const noexcept {
    return max_bytes_ - std::min(max_bytes_, total_bytes_);
}

// Slabs double; the last one is as large as the limit leaves.
std::uint64_t Arena::slab_bytes(std::uint64_t block_bytes) const noexcept {
    const auto most = std::max(kLargestSlab, initial_bytes_);
    const auto next = std::min({slabs_bytes_ + initial_bytes_, most, room() / kPage * kPage});
    return std::max(next, segment_bytes(block_bytes));
}

std::optional<std::uint32_t> Arena::add_segment(std::uint64_t bytes) {
    if (bytes > room()) return std::nullopt;
    const auto number = unused_numbers_.empty() ? static_cast<std::uint32_t>(parts_.size())
                                                : unused_numbers_.back();
    if (number >= kMaxArenaSegments) return std::nullopt;
    const auto segment = source_.create(number, bytes);
    if (!segment) return std::nullopt;
    if (!unused_numbers_.empty()) unused_numbers_.pop_back();
    segment.at<ArenaHeader>(0)->number = number;
    segment.format(SegmentKind::arena);
    if (number == parts_.size()) parts_.emplace_back();
    parts_[number] = {.segment = segment};
    total_bytes_ += segment.bytes();
    return number;
}

std::uint32_t Arena::new_entry(BlockRef ref, std::uint64_t bytes, std::uint8_t size_class) {
    std::uint32_t index = 0;
    if (unused_entries_.empty()) {
        index = static_cast<std::uint32_t>(entries_.size());
        entries_.emplace_back();
    } else {
        index = unused_entries_.back();
        unused_entries_.pop_back();
    }
    entries_[index] = {.ref = ref, .bytes = bytes, .size_class = size_class, .use = Use::free};
    auto* header = header_of(ref);
    header->magic = kBlockMagic;
    header->owner_index = index;
    header->payload_bytes = bytes - sizeof(BlockHeader);
    return index;
}

BlockHeader* Arena::header_of(BlockRef ref) const noexcept {
    const auto number = segment_of(ref);
    if (number >= parts_.size() || offset_of(ref) < sizeof(BlockHeader)) return nullptr;
    return parts_[number].segment.at<BlockHeader>(offset_of(ref) - sizeof(BlockHeader));
}

std::optional<std::uint32_t> Arena::cut(std::uint64_t bytes, std::uint8_t size_class) {
    const bool is_first = parts_.empty() || first_.end - first_.at >= bytes;
    auto& cutting = is_first ? first_ : cuttings_[size_class >= kLeastBulkClass ? 1 : 0];
    if (cutting.end - cutting.at < bytes) {
        const auto number = add_segment(slab_bytes(bytes));
        if (!number) return std::nullopt;
        auto& part = parts_[*number];
        part.is_slab = true;
        slabs_bytes_ += part.segment.bytes();
        cutting = {.number = *number, .at = sizeof(ArenaHeader), .end = part.segment.bytes()};
    }
    const auto ref = make_block_ref(cutting.number, cutting.at + sizeof(BlockHeader));
    cutting.at += bytes;
    return new_entry(ref, bytes, size_class);
}

Block Arena::hand_out(std::uint32_t index) noexcept {
    auto& entry = entries_[index];
    entry.use = Use::held;
    used_bytes_ += entry.bytes;
    ++live_blocks_;
    auto& part = parts_[segment_of(entry.ref)];
    part.uses += kTaken;
    return {.ref = entry.ref,
            .data = part.segment.at<std::byte>(offset_of(entry.ref)),
            .bytes = entry.bytes - sizeof(BlockHeader)};
}

Block Arena::allocate_small(std::uint32_t size_class) {
    auto& free = free_[size_class - kSmallestClass];
    if (free.empty()) {
        const auto made =
            cut(std::uint64_t{1} << size_class, static_cast<std::uint8_t>(size_class));
        if (!made) return {};
        return hand_out(*made);
    }
    const auto index = free.back();
    free.pop_back();
    return hand_out(index);
}

// What is left when no segment can be made.
Block Arena::allocate_from_larger(std::uint32_t size_class) {
    while (++size_class <= kLargestClass) {
        if (!free_[size_class - kSmallestClass].empty()) return allocate_small(size_class);
    }
    return {};
}

void Arena::prepare() {
    if (!parts_.empty()) return;
    if (const auto first = cut(std::uint64_t{1} << kSmallestClass, kSmallestClass)) {
        free_.front().push_back(*first);
    }
}

Block Arena::allocate_large(std::uint64_t bytes) {
    auto best = free_large_.end();
    for (auto at = free_large_.begin(); at != free_large_.end(); ++at) {
        const auto have = entries_[*at].bytes;
        if (have < bytes || have / 2 > bytes) continue;
        if (best == free_large_.end() || have < entries_[*best].bytes) best = at;
    }
    if (best != free_large_.end()) {
        const auto index = *best;
        free_large_.erase(best);
        cached_large_bytes_ -= entries_[index].bytes;
        return hand_out(index);
    }
    // Segment 0 carries the list of returned blocks, so it must be a slab: it is never removed.
    prepare();
    if (parts_.empty()) return {};
    const auto wanted = segment_bytes(bytes);
    const auto number = add_segment(wanted);
    if (!number) return {};
    const auto ref = make_block_ref(*number, sizeof(ArenaHeader) + sizeof(BlockHeader));
    return hand_out(new_entry(ref, wanted - sizeof(ArenaHeader), kLargeClass));
}

Block Arena::allocate(std::uint64_t bytes) {
    const auto whole = checked_add(bytes, sizeof(BlockHeader));
    if (!whole || *whole > max_bytes_) return {};
    const auto size_class = class_of(*whole);
    const bool is_small = size_class <= kLargestClass;
    if (!is_small) ++large_requests_;
    const auto attempt = [&] {
        return is_small ? allocate_small(size_class) : allocate_large(*whole);
    };
    auto block = attempt();
    if (!block && collect() != 0) block = attempt();
    if (block) return block;
    // No more than is needed goes and nothing in vain, unless it is the machine that has no memory.
    const auto segment = segment_bytes(is_small ? std::uint64_t{1} << size_class : *whole);
    const auto most = max_bytes_ - std::min(max_bytes_, segment);
    if (total_bytes_ > most && total_bytes_ - unused_bytes() <= most) {
        give_up(most);
        block = attempt();
    }
    if (!block && total_bytes_ <= most && give_up(0)) block = attempt();
    if (!block && is_small) block = allocate_from_larger(size_class);
    return block;
}

bool Arena::is_large(const Block& block) noexcept {
    return block.bytes > (std::uint64_t{1} << kLargestClass) - sizeof(BlockHeader);
}

std::uint64_t Arena::lacking(std::uint64_t bytes) const noexcept {
    const auto whole = bytes + sizeof(BlockHeader);
    const auto size_class = class_of(whole);
    const bool is_small = size_class <= kLargestClass;
    const auto block = is_small ? std::uint64_t{1} << size_class : whole;
    const auto kept = total_bytes_ - unused_bytes();
    const auto left = max_bytes_ > kept ? max_bytes_ - kept : 0;
    const auto segment = segment_bytes(block);
    if (segment > left) return segment - left;
    // It was the machine's memory that was not enough.
    return is_small ? slab_bytes(block) : segment;
}

std::optional<std::uint32_t> Arena::find(BlockRef ref) const noexcept {
    const auto* header = header_of(ref);
    if (header == nullptr) return std::nullopt;
    const auto index = header->owner_index;  // shared memory: checked against the private table
    if (index >= entries_.size() || entries_[index].ref != ref) return std::nullopt;
    return index;
}

void Arena::free_entry(std::uint32_t index) noexcept {
    auto& entry = entries_[index];
    used_bytes_ -= entry.bytes;
    --live_blocks_;
    --parts_[segment_of(entry.ref)].uses;
    entry.use = Use::free;
    if (entry.size_class != kLargeClass) {
        free_[entry.size_class - kSmallestClass].push_back(index);
        return;
    }
    free_large_.push_back(index);
    cached_large_bytes_ += entry.bytes;
    if (cached_large_bytes_ > cache_limit_) trim(cache_limit_ - cache_limit_ / 4);
}

void Arena::release(BlockRef ref) noexcept {
    const auto index = find(ref);
    if (index && entries_[*index].use == Use::held) free_entry(*index);
}

std::uint64_t Arena::lend(BlockRef ref, std::uint32_t borrower,
                          std::uint32_t borrower_epoch) noexcept {
    const auto index = find(ref);
    if (!index || entries_[*index].use != Use::held) return 0;
    auto& entry = entries_[*index];
    entry.use = Use::lent;
    entry.borrower = borrower;
    entry.borrower_epoch = borrower_epoch;
    entry.ticket = ++last_ticket_;
    header_of(ref)->given_back.store(0, std::memory_order_release);
    return entry.ticket;
}

bool Arena::is_lent(BlockRef ref, std::uint64_t ticket) const noexcept {
    const auto index = find(ref);
    return index && entries_[*index].use == Use::lent && entries_[*index].ticket == ticket;
}

void Arena::take_back(BlockRef ref, std::uint32_t borrower, std::uint32_t borrower_epoch) noexcept {
    const auto index = find(ref);
    if (!index) return;
    const auto& entry = entries_[*index];
    if (entry.use != Use::lent || entry.borrower != borrower ||
        entry.borrower_epoch != borrower_epoch) {
        return;
    }
    free_entry(*index);
}

std::size_t Arena::collect() noexcept {
    if (parts_.empty()) return 0;
    auto& head = parts_[0].segment.at<ArenaHeader>(0)->returned;
    if (head.load(std::memory_order_relaxed) == 0) return 0;
    auto ref = head.exchange(0, std::memory_order_acquire);  // pairs with [G1] in give_back()
    std::size_t freed = 0;
    // Bounded by the number of blocks, whatever the links say.
    for (std::size_t steps = entries_.size(); ref != 0 && steps > 0; --steps) {
        const auto index = find(ref);
        if (!index) break;
        const auto next = header_of(ref)->next_returned.load(std::memory_order_relaxed);
        if (entries_[*index].use == Use::lent) {
            free_entry(*index);
            ++freed;
        }
        ref = next;
    }
    return freed;
}

std::size_t Arena::reclaim_dead(const Board& board) noexcept {
    const auto deaths = board.deaths();
    if (deaths == deaths_seen_) return 0;
    deaths_seen_ = deaths;
    std::size_t freed = collect();
    for (std::uint32_t index = 0; index < entries_.size(); ++index) {
        auto& entry = entries_[index];
        if (entry.use != Use::lent || board.is_current(entry.borrower, entry.borrower_epoch))
            continue;
        free_entry(index);
        ++freed;
    }
    return freed;
}

void Arena::remove_segment(std::uint32_t number) noexcept {
    const auto segment = parts_[number].segment;
    segment.at<ArenaHeader>(0)->retired.store(1, std::memory_order_release);
    total_bytes_ -= segment.bytes();
    source_.remove(number);
    parts_[number] = Part{};
    unused_numbers_.push_back(number);
}

// The oldest go.
void Arena::drop_large(std::size_t count) noexcept {
    const auto end = free_large_.begin() + static_cast<std::ptrdiff_t>(count);
    for (auto at = free_large_.begin(); at != end; ++at) {
        auto& entry = entries_[*at];
        cached_large_bytes_ -= entry.bytes;
        remove_segment(segment_of(entry.ref));
        entry = Entry{};
        unused_entries_.push_back(*at);
    }
    free_large_.erase(free_large_.begin(), end);
}

void Arena::drop_slabs(std::uint64_t most, bool idle_only) noexcept {
    auto left = total_bytes_;
    for (std::size_t number = parts_.size(); number > 1 && left > most;) {
        auto& part = parts_[--number];
        const bool is_used = static_cast<std::uint32_t>(part.uses) != 0 ||
                             (idle_only && part.uses != part.uses_seen);
        if (!part.is_slab || is_used) continue;
        part.goes = true;
        left -= part.segment.bytes();
    }
    if (left == total_bytes_) return;
    for (auto& free : free_) {
        std::erase_if(free, [this](std::uint32_t index) {
            auto& entry = entries_[index];
            if (!parts_[segment_of(entry.ref)].goes) return false;
            entry = Entry{};
            unused_entries_.push_back(index);
            return true;
        });
    }
    for (auto& cutting : cuttings_) {
        if (parts_[cutting.number].goes) cutting = {};
    }
    for (std::uint32_t number = 1; number < parts_.size(); ++number) {
        if (!parts_[number].goes) continue;
        slabs_bytes_ -= parts_[number].segment.bytes();
        remove_segment(number);
    }
}

// Of the segments that `give_up` can remove.
std::uint64_t Arena::unused_bytes() const noexcept {
    std::uint64_t bytes = 0;
    for (std::size_t number = 1; number < parts_.size(); ++number) {
        const auto& part = parts_[number];
        if (static_cast<std::uint32_t>(part.uses) == 0) bytes += part.segment.bytes();
    }
    return bytes;
}

// Segments without a block in use go until no more than `most` bytes are left; whether any went.
bool Arena::give_up(std::uint64_t most) noexcept {
    const auto before = total_bytes_;
    auto left = total_bytes_;
    std::size_t count = 0;
    for (; count < free_large_.size() && left > most; ++count) {
        left -= parts_[segment_of(entries_[free_large_[count]].ref)].segment.bytes();
    }
    drop_large(count);
    drop_slabs(most, false);
    return total_bytes_ != before;
}

void Arena::trim(std::uint64_t keep_bytes) noexcept {
    auto left = cached_large_bytes_;
    std::size_t count = 0;
    for (; count < free_large_.size() && left > keep_bytes; ++count) {
        left -= entries_[free_large_[count]].bytes;
    }
    drop_large(count);
}

void Arena::trim_idle() noexcept {
    if (large_requests_ == large_requests_seen_) trim();
    large_requests_seen_ = large_requests_;
    drop_slabs(0, true);
    for (auto& part : parts_) part.uses_seen = part.uses;
}

std::string Arena::refusal(std::uint64_t bytes, std::string_view what) const {
    std::string text = "Failed to increase the shared memory pool size for key 'arena' to ";
    text += std::to_string(total_bytes_ + bytes);
    text += " bytes: ";
    text += what;
    text += " needs " + std::to_string(bytes);
    text +=
        " bytes; enlarge /dev/shm (a container's --shm-size), or raise --arena-max-bytes, which "
        "is ";
    return text + std::to_string(max_bytes_);
}

std::byte* Arena::address(BlockRef ref) const noexcept {
    const auto number = segment_of(ref);
    if (number >= parts_.size()) return nullptr;
    return parts_[number].segment.at<std::byte>(offset_of(ref));
}

bool give_back(Segment first, Segment holder, BlockRef ref) noexcept {
    auto* arena = first.at<ArenaHeader>(0);
    auto* header = offset_of(ref) < sizeof(BlockHeader)
                       ? nullptr
                       : holder.at<BlockHeader>(offset_of(ref) - sizeof(BlockHeader));
    if (arena == nullptr || header == nullptr || header->magic != kBlockMagic) return false;
    if (header->given_back.exchange(1, std::memory_order_acq_rel) != 0) return false;
    auto head = arena->returned.load(std::memory_order_relaxed);
    do {
        header->next_returned.store(head, std::memory_order_relaxed);
    } while (!arena->returned.compare_exchange_weak(head, ref, std::memory_order_release,  // [G1]
                                                    std::memory_order_relaxed));
    return true;
}

const std::byte* lent_address(Segment holder, BlockRef ref, std::uint64_t bytes) noexcept {
    if (offset_of(ref) < sizeof(BlockHeader)) return nullptr;
    const auto* header = holder.at<BlockHeader>(offset_of(ref) - sizeof(BlockHeader));
    if (header == nullptr || header->magic != kBlockMagic || bytes > header->payload_bytes) {
        return nullptr;
    }
    return holder.at<std::byte>(offset_of(ref), bytes);
}

}  // namespace mpserve
