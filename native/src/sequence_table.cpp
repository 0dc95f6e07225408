#include "mpserve/sequence_table.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "mpserve/message.hpp"
#include "mpserve/model_queue.hpp"
#include "queue_slot.hpp"

namespace mpserve {

namespace {

constexpr std::uint32_t kMaxActive = 2048;  // sequences of one queue that have a slot
constexpr std::uint64_t kFnvBasis = 0xcbf29ce484222325ULL;
constexpr std::uint64_t kFnvPrime = 0x100000001b3ULL;
constexpr std::uint64_t kSpread = 0x9e3779b97f4a7c15ULL;

std::uint32_t entries_for(std::uint32_t queue_slots, const SequenceRule& rule) noexcept {
    if (rule.slots == 0) return 0;
    const auto active = std::uint64_t{rule.slots} * kSequenceInstances;
    return queue_slots + static_cast<std::uint32_t>(std::min<std::uint64_t>(active, kMaxActive));
}

constexpr std::uint64_t align(std::uint64_t bytes) noexcept {
    return (bytes + 63) & ~std::uint64_t{63};
}

struct Places {
    std::uint64_t entries;
    std::uint64_t buckets;
    std::uint64_t slots;
    std::uint64_t end;
};

Places places_of(std::uint32_t entries, std::uint32_t queue_slots) noexcept {
    Places places{};
    places.entries = align(sizeof(SequenceHeader));
    places.buckets = align(places.entries + std::uint64_t{entries} * sizeof(SequenceEntry));
    places.slots =
        align(places.buckets + std::uint64_t{std::bit_ceil(entries)} * sizeof(std::uint32_t));
    places.end = align(places.slots + std::uint64_t{queue_slots} * sizeof(SequencedSlot));
    return places;
}

SequenceState state_of(const SequenceEntry& entry) noexcept {
    return static_cast<SequenceState>(entry.state.load(std::memory_order_relaxed));
}

// Release keeps the entry's fields before its state in program order, as with the queue's slots.
void set_state(SequenceEntry& entry, SequenceState state) noexcept {
    entry.state.store(static_cast<std::uint32_t>(state), std::memory_order_release);
}

void reset(SequenceList& list) noexcept { list = {kNoSequence, kNoSequence, 0, 0}; }

}  // namespace

bool SequenceKey::set(std::uint64_t given_number, std::string_view given_text) noexcept {
    if (given_text.size() > kMaxSequenceText) return false;
    number = given_number;
    text_bytes = static_cast<std::uint32_t>(given_text.size());
    reserved_ = 0;
    std::memset(text, 0, sizeof(text));
    if (!given_text.empty()) std::memcpy(text, given_text.data(), given_text.size());
    return true;
}

bool SequenceKey::operator==(const SequenceKey& other) const noexcept {
    return number == other.number && text_view() == other.text_view();
}

std::uint64_t SequenceTable::required_bytes(std::uint32_t queue_slots,
                                            const SequenceRule& rule) noexcept {
    const auto entries = entries_for(queue_slots, rule);
    return entries == 0 ? 0 : places_of(entries, queue_slots).end;
}

bool SequenceTable::format(const Segment& segment, std::uint64_t offset, std::uint32_t queue_slots,
                           const SequenceRule& rule) noexcept {
    const auto entries = entries_for(queue_slots, rule);
    if (entries == 0) return true;
    auto* header = segment.at<SequenceHeader>(offset);
    if (header == nullptr || segment.bytes() - offset < required_bytes(queue_slots, rule))
        return false;
    header->buckets = std::bit_ceil(entries);
    header->rule = rule;
    header->next_serial = 1;
    header->entries = entries;
    return true;
}

bool SequenceTable::attach(const Segment& segment, std::uint64_t offset, QueueSlot* queue_slots,
                           std::uint32_t queue_slot_count) noexcept {
    auto* header = segment.at<SequenceHeader>(offset);
    if (header == nullptr || header->entries == 0) return false;
    if (header->buckets != std::bit_ceil(header->entries)) return false;
    const auto places = places_of(header->entries, queue_slot_count);
    entries_ = segment.at<SequenceEntry>(offset + places.entries, header->entries);
    buckets_ = segment.at<std::uint32_t>(offset + places.buckets, header->buckets);
    slots_ = segment.at<SequencedSlot>(offset + places.slots, queue_slot_count);
    if (entries_ == nullptr || buckets_ == nullptr || slots_ == nullptr) return false;
    queue_slots_ = queue_slots;
    header_ = header;
    return true;
}

// --- identity ------------------------------------------------------------------------------------

std::uint32_t& SequenceTable::bucket_of(const SequenceKey& key) const noexcept {
    auto digest = kFnvBasis ^ (key.number * kSpread);
    for (const char letter : key.text_view())
        digest = (digest ^ static_cast<std::uint8_t>(letter)) * kFnvPrime;
    digest ^= digest >> 29;
    return buckets_[(digest * kSpread >> 32) & (header_->buckets - 1)];
}

std::uint32_t SequenceTable::find(const SequenceKey& key) const noexcept {
    auto sequence = bucket_of(key);
    while (sequence != kNoSequence && !(entries_[sequence].key == key))
        sequence = entries_[sequence].next_in_bucket;
    return sequence;
}

void SequenceTable::add_key(std::uint32_t sequence) noexcept {
    auto& bucket = bucket_of(entries_[sequence].key);
    entries_[sequence].next_in_bucket = bucket;
    bucket = sequence;
}

void SequenceTable::remove_key(std::uint32_t sequence) noexcept {
    auto* link = &bucket_of(entries_[sequence].key);
    while (*link != kNoSequence && *link != sequence) link = &entries_[*link].next_in_bucket;
    if (*link == sequence) *link = entries_[sequence].next_in_bucket;
}

// --- lists ---------------------------------------------------------------------------------------

SequenceList& SequenceTable::list_of(const SequenceEntry& entry) noexcept {
    return state_of(entry) == SequenceState::active ? header_->instances[entry.instance]
                                                    : header_->backlog;
}

void SequenceTable::append(SequenceList& list, std::uint32_t sequence) noexcept {
    auto& entry = entries_[sequence];
    entry.next = kNoSequence;
    entry.previous = list.tail;
    (list.tail == kNoSequence ? list.head : entries_[list.tail].next) = sequence;
    list.tail = sequence;
    ++list.count;
}

void SequenceTable::insert_by_slot(std::uint32_t sequence) noexcept {
    auto& entry = entries_[sequence];
    auto& list = header_->instances[entry.instance];
    auto after = list.tail;
    while (after != kNoSequence && entries_[after].slot > entry.slot)
        after = entries_[after].previous;
    entry.previous = after;
    entry.next = after == kNoSequence ? list.head : entries_[after].next;
    (after == kNoSequence ? list.head : entries_[after].next) = sequence;
    (entry.next == kNoSequence ? list.tail : entries_[entry.next].previous) = sequence;
    ++list.count;
}

void SequenceTable::remove(SequenceList& list, std::uint32_t sequence) noexcept {
    const auto& entry = entries_[sequence];
    (entry.previous == kNoSequence ? list.head : entries_[entry.previous].next) = entry.next;
    (entry.next == kNoSequence ? list.tail : entries_[entry.next].previous) = entry.previous;
    --list.count;
}

void SequenceTable::put_free(std::uint32_t sequence) noexcept {
    entries_[sequence].next = header_->free_head;
    header_->free_head = sequence;
}

// --- the life of a sequence ----------------------------------------------------------------------

std::uint32_t SequenceTable::create(const SequenceKey& key, std::uint64_t now) noexcept {
    const auto sequence = header_->free_head;
    if (sequence == kNoSequence) return kNoSequence;
    auto& entry = entries_[sequence];
    header_->free_head = entry.next;
    entry.key = key;
    entry.instance = 0;
    entry.slot = 0;
    entry.ended = 0;
    entry.serial = header_->next_serial++;
    entry.heard_ns = now;
    entry.first = entry.last = kNoSlot;
    entry.waiting = entry.running = 0;
    // Killed from here to the commit of its first request: a backlog entry without requests, which
    // the repair frees.
    set_state(entry, SequenceState::backlog);
    append(header_->backlog, sequence);
    add_key(sequence);
    ++header_->live;
    return sequence;
}

void SequenceTable::close(std::uint32_t sequence) noexcept {
    auto& entry = entries_[sequence];
    if (entry.ended != 0) return;
    entry.ended = 1;
    remove_key(sequence);
}

void SequenceTable::end(std::uint32_t sequence, SequenceVerdict verdict) noexcept {
    close(sequence);
    auto& entry = entries_[sequence];
    while (entry.first != kNoSlot) doom(entry.first, verdict);
    release_if_over(sequence);
}

void SequenceTable::release(std::uint32_t sequence) noexcept {
    close(sequence);
    auto& entry = entries_[sequence];
    remove(list_of(entry), sequence);
    set_state(entry, SequenceState::free);  // COMMIT; killed before: the repair lets go of it
    put_free(sequence);
    --header_->live;
}

void SequenceTable::release_if_over(std::uint32_t sequence) noexcept {
    const auto& entry = entries_[sequence];
    if (entry.waiting != 0 || entry.running != 0) return;
    if (entry.ended != 0 || state_of(entry) == SequenceState::backlog) release(sequence);
}

void SequenceTable::end_all() noexcept {
    for (std::uint32_t sequence = 0; sequence < header_->entries; ++sequence) {
        if (state_of(entries_[sequence]) == SequenceState::free) continue;
        close(sequence);
        release_if_over(sequence);
    }
}

void SequenceTable::release_quiet() noexcept {
    for (auto& list : header_->instances) {
        for (auto sequence = list.head; sequence != kNoSequence;) {
            const auto& entry = entries_[sequence];
            const auto next = entry.next;
            if (entry.waiting == 0 && entry.running == 0) release(sequence);
            sequence = next;
        }
    }
}

// --- requests ------------------------------------------------------------------------------------

void SequenceTable::mark(std::uint32_t index, std::uint32_t sequence, const SequenceMark& mark,
                         std::uint64_t now) noexcept {
    auto& entry = entries_[sequence];
    entry.heard_ns = now;
    slots_[index] = {.entry = sequence,
                     .flags = mark.flags,
                     .next = kNoSlot,
                     .previous = kNoSlot,
                     .verdict = static_cast<std::uint32_t>(SequenceVerdict::none),
                     .reserved_ = 0,
                     .due_ns = mark.timeout_ns == 0 ? 0 : now + mark.timeout_ns};
}

void SequenceTable::add_waiting(std::uint32_t index) noexcept {
    auto& slot = slots_[index];
    if (slot.verdict != static_cast<std::uint32_t>(SequenceVerdict::none)) {
        append_doomed(index);
        return;
    }
    auto& entry = entries_[slot.entry];
    if (state_of(entry) == SequenceState::free) adopt(slot.entry);  // only in a repair
    // By arrival; but in a repair always at the end.
    const auto arrival = queue_slots_[index].sequence;
    auto after = entry.last;
    while (after != kNoSlot && queue_slots_[after].sequence > arrival)
        after = slots_[after].previous;
    slot.previous = after;
    slot.next = after == kNoSlot ? entry.first : slots_[after].next;
    (after == kNoSlot ? entry.first : slots_[after].next) = index;
    (slot.next == kNoSlot ? entry.last : slots_[slot.next].previous) = index;
    ++entry.waiting;
    if ((slot.flags & kSequenceEnd) != 0) close(slot.entry);
    if (state_of(entry) != SequenceState::backlog) return;
    ++header_->backlog_requests;
    if (slot.due_ns != 0) header_->backlog_due_ns = std::min(header_->backlog_due_ns, slot.due_ns);
}

void SequenceTable::remove_waiting(std::uint32_t index) noexcept {
    auto& slot = slots_[index];
    if (slot.verdict != static_cast<std::uint32_t>(SequenceVerdict::none)) {
        auto& list = header_->doomed;
        (slot.previous == kNoSlot ? list.head : slots_[slot.previous].next) = slot.next;
        (slot.next == kNoSlot ? list.tail : slots_[slot.next].previous) = slot.previous;
        --list.count;
        return;
    }
    auto& entry = entries_[slot.entry];
    (slot.previous == kNoSlot ? entry.first : slots_[slot.previous].next) = slot.next;
    (slot.next == kNoSlot ? entry.last : slots_[slot.next].previous) = slot.previous;
    --entry.waiting;
    if (state_of(entry) == SequenceState::backlog) --header_->backlog_requests;
    release_if_over(slot.entry);
}

void SequenceTable::begin_running(std::uint32_t index) noexcept {
    const auto& slot = slots_[index];
    if (slot.verdict == static_cast<std::uint32_t>(SequenceVerdict::none))
        ++entries_[slot.entry].running;
}

void SequenceTable::finish(std::uint32_t index, std::uint64_t now) noexcept {
    const auto& slot = slots_[index];
    if (slot.verdict != static_cast<std::uint32_t>(SequenceVerdict::none)) return;
    auto& entry = entries_[slot.entry];
    --entry.running;
    entry.heard_ns = now;
    release_if_over(slot.entry);
}

void SequenceTable::append_doomed(std::uint32_t index) noexcept {
    auto& list = header_->doomed;
    auto& slot = slots_[index];
    slot.next = kNoSlot;
    slot.previous = list.tail;
    (list.tail == kNoSlot ? list.head : slots_[list.tail].next) = index;
    list.tail = index;
    ++list.count;
}

void SequenceTable::doom(std::uint32_t index, SequenceVerdict verdict) noexcept {
    auto& slot = slots_[index];
    auto& entry = entries_[slot.entry];
    (slot.previous == kNoSlot ? entry.first : slots_[slot.previous].next) = slot.next;
    (slot.next == kNoSlot ? entry.last : slots_[slot.next].previous) = slot.previous;
    --entry.waiting;
    if (state_of(entry) == SequenceState::backlog) --header_->backlog_requests;
    slot.verdict = static_cast<std::uint32_t>(verdict);  // COMMIT
    append_doomed(index);
}

// --- repair --------------------------------------------------------------------------------------

void SequenceTable::begin_repair() noexcept {
    header_->free_head = kNoSequence;
    header_->live = 0;
    header_->backlog_requests = 0;
    header_->look_ns = 0;
    header_->backlog_due_ns = UINT64_MAX;
    reset(header_->backlog);
    reset(header_->doomed);
    for (auto& list : header_->instances) reset(list);
    std::fill_n(buckets_, header_->buckets, kNoSequence);
    for (std::uint32_t sequence = 0; sequence < header_->entries; ++sequence) {
        auto& entry = entries_[sequence];
        entry.first = entry.last = kNoSlot;
        entry.waiting = entry.running = 0;
        header_->next_serial = std::max(header_->next_serial, entry.serial + 1);
    }
    for (std::uint32_t sequence = 0; sequence < header_->entries; ++sequence) {
        const auto& entry = entries_[sequence];
        if (state_of(entry) == SequenceState::free) continue;
        ++header_->live;
        if (state_of(entry) == SequenceState::active) insert_by_slot(sequence);
        if (entry.ended == 0) add_key(sequence);
    }
}

// A sequence that was let go of, or not yet made, while one of its requests lives on: the holder
// was killed in between.
void SequenceTable::adopt(std::uint32_t sequence) noexcept {
    auto& entry = entries_[sequence];
    set_state(entry, SequenceState::backlog);
    ++header_->live;
    if (entry.ended == 0) add_key(sequence);
}

void SequenceTable::adopt_running(std::uint32_t index) noexcept {
    const auto& slot = slots_[index];
    if (slot.verdict != static_cast<std::uint32_t>(SequenceVerdict::none)) return;
    auto& entry = entries_[slot.entry];
    if (state_of(entry) == SequenceState::free) adopt(slot.entry);
    ++entry.running;
    if ((slot.flags & kSequenceEnd) != 0) close(slot.entry);
}

void SequenceTable::end_repair() noexcept {
    for (std::uint32_t sequence = header_->entries; sequence-- > 0;) {
        const auto& entry = entries_[sequence];
        if (state_of(entry) == SequenceState::free) put_free(sequence);
    }
    // The backlog by age. Repairs are rare, so that the search for the next may be slow.
    std::uint64_t last = 0;
    for (;;) {
        auto oldest = kNoSequence;
        for (std::uint32_t sequence = 0; sequence < header_->entries; ++sequence) {
            const auto& entry = entries_[sequence];
            if (state_of(entry) != SequenceState::backlog || entry.serial <= last) continue;
            if (oldest == kNoSequence || entry.serial < entries_[oldest].serial) oldest = sequence;
        }
        if (oldest == kNoSequence) break;
        last = entries_[oldest].serial;
        append(header_->backlog, oldest);
    }
    for (std::uint32_t sequence = 0; sequence < header_->entries; ++sequence) {
        if (state_of(entries_[sequence]) != SequenceState::free) release_if_over(sequence);
    }
}

}  // namespace mpserve
