// One process's allocator of shared memory for tensor bytes.
//
// Layout of each segment: ArenaHeader, then blocks of BlockHeader + payload (64-aligned).
//
//     | ArenaHeader | BlockHeader | payload ... | BlockHeader | payload ... |
//
// Guarantees
//   - Only the owner changes allocator state, and that state lies in its private memory: no lock,
//   and
//     no death of anybody can corrupt it.
//   - A block that was lent is not used again before the borrower gave it back (`give_back`), or
//   the
//     board says that the borrower is dead.
//   - Giving back twice, or a block that was never lent, changes nothing.
// Assumes: a borrower learned the reference by a message and gives back each block at most once.
// Owner: one process (index, epoch); its segments are removed by the supervisor when it is dead.
// After a death of a borrower: `reclaim_dead` frees what was lent to it. A borrower killed inside
//   `give_back` leaves the list intact: the link is written before the head is exchanged.
//
// Small blocks come in power-of-two classes cut from slabs; a block above kLargestClass gets a
// segment of its own. Segments without a block in use are kept for the next blocks, and removed
// when nobody had one of them in a while or when another block finds no room; only segment 0 stays.
// A slab is cut either into blocks below kLeastBulkClass or into others, so that the small ones, of
// which some are always in use, do not keep it. The number of a removed segment is used again: a
// peer that still maps the old one sees `retired` there and attaches anew.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mpserve/block_ref.hpp"
#include "mpserve/board.hpp"
#include "mpserve/segment.hpp"

namespace mpserve {

inline constexpr std::uint32_t kBlockMagic = 0x4d505342u;  // "BSPM"
inline constexpr std::uint32_t kSmallestClass = 9;         // 512 bytes with the header
inline constexpr std::uint32_t kLeastBulkClass = 14;       // 16 KiB with the header
inline constexpr std::uint32_t kLargestClass = 18;         // 256 KiB with the header
inline constexpr std::uint32_t kClassCount = kLargestClass - kSmallestClass + 1;
inline constexpr std::uint32_t kMaxArenaSegments = 65535;

struct ArenaHeader {
    SegmentHeader segment;
    std::atomic<std::uint64_t> returned;  // head of the list of blocks given back (segment 0 only)
    std::atomic<std::uint32_t> retired;   // the owner removed this segment: unmap it
    std::uint32_t number;
    std::uint64_t reserved_[6];
};
static_assert(sizeof(ArenaHeader) == 128);

struct BlockHeader {
    std::uint32_t magic;
    std::uint32_t owner_index;  // into the owner's private table; checked there
    std::atomic<std::uint64_t> next_returned;
    std::atomic<std::uint32_t> given_back;
    std::uint32_t reserved_small_;
    std::uint64_t payload_bytes;
    std::uint64_t reserved_[4];
};
static_assert(sizeof(BlockHeader) == 64);

// A block that the owner may write.
struct Block {
    BlockRef ref = 0;
    std::byte* data = nullptr;
    std::uint64_t bytes = 0;
    explicit operator bool() const noexcept { return data != nullptr; }
};

// Makes and removes segments; implemented over `mpserve.shm.segment`.
class SegmentSource {
public:
    virtual ~SegmentSource() = default;
    // A zeroed segment of at least `bytes`; an empty one when there is no memory.
    virtual Segment create(std::uint32_t number, std::uint64_t bytes) = 0;
    virtual void remove(std::uint32_t number) = 0;
};

class Arena {
public:
    Arena(SegmentSource& source, std::uint64_t initial_bytes, std::uint64_t max_bytes);
    ~Arena() = default;
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;

    // Makes the first segment now, which the first block would wait for. Without memory for it
    // nothing happens: `allocate` refuses.
    void prepare();
    // Block of at least `bytes`, or nothing when the limit or the machine's memory is reached.
    Block allocate(std::uint64_t bytes);
    // Bytes of blocks that `is_large` says have a segment of their own: how many must come back
    // before `allocate`, which had none of so many bytes, may have one.
    std::uint64_t lacking(std::uint64_t bytes) const noexcept;
    static bool is_large(const Block& block) noexcept;
    // The owner's own release of a block that is not lent.
    void release(BlockRef ref) noexcept;
    // The block is somebody else's to read until given back. The ticket tells this lending from
    // others of the same block; 0 when it was not lent.
    std::uint64_t lend(BlockRef ref, std::uint32_t borrower, std::uint32_t borrower_epoch) noexcept;
    // Whether that lending goes on, as far as `collect` and `reclaim_dead` have seen.
    bool is_lent(BlockRef ref, std::uint64_t ticket) const noexcept;
    // The borrower said by message that it needs the block no more.
    void take_back(BlockRef ref, std::uint32_t borrower, std::uint32_t borrower_epoch) noexcept;
    // Takes in what was given back; number of blocks.
    std::size_t collect() noexcept;
    // Frees what was lent to processes that the board calls dead.
    std::size_t reclaim_dead(const Board& board) noexcept;
    // Removes unused large segments until at most `keep_bytes` of them are left.
    void trim(std::uint64_t keep_bytes = 0) noexcept;
    // For a timer. Removes all of them when no large block was asked for since the last call, and
    // slabs of which no block was in use since then.
    void trim_idle() noexcept;

    // Why `allocate` gave nothing for `what`, in Triton's words as far as they go.
    std::string refusal(std::uint64_t bytes, std::string_view what) const;

    // Address of an own block, nullptr when the reference is none.
    std::byte* address(BlockRef ref) const noexcept;

    std::uint64_t used_bytes() const noexcept { return used_bytes_; }    // handed out, with headers
    std::uint64_t total_bytes() const noexcept { return total_bytes_; }  // size of all segments
    std::uint64_t max_bytes() const noexcept { return max_bytes_; }
    std::uint64_t blocks() const noexcept { return live_blocks_; }
    // Nothing can come back, and nothing is kept that `trim_idle` would remove.
    bool is_at_rest() const noexcept {
        return live_blocks_ == 0 &&
               (parts_.empty() || total_bytes_ == parts_.front().segment.bytes());
    }

private:
    enum class Use : std::uint8_t { unused, free, held, lent };
    struct Entry {
        BlockRef ref = 0;
        std::uint64_t bytes = 0;   // with the header
        std::uint64_t ticket = 0;  // of the last lending
        std::uint32_t borrower = 0;
        std::uint32_t borrower_epoch = 0;
        std::uint8_t size_class = 0;  // kLargeClass for a block with a segment of its own
        Use use = Use::unused;
    };
    static constexpr std::uint8_t kLargeClass = 255;
    struct Part {
        Segment segment;
        std::uint64_t uses = 0;       // lower half: blocks in use; upper half: times one was taken
        std::uint64_t uses_seen = 0;  // by the last `trim_idle`
        bool is_slab = false;
        bool goes = false;  // in `drop_slabs`
    };
    // The slab that the next blocks of a kind are cut from.
    struct Cutting {
        std::uint32_t number = 0;
        std::uint64_t at = 0;
        std::uint64_t end = 0;
    };

    Block allocate_small(std::uint32_t size_class);
    Block allocate_large(std::uint64_t bytes);
    Block allocate_from_larger(std::uint32_t size_class);
    std::uint64_t room() const noexcept;
    std::uint64_t slab_bytes(std::uint64_t block_bytes) const noexcept;
    std::uint64_t unused_bytes() const noexcept;
    bool give_up(std::uint64_t most) noexcept;
    void drop_large(std::size_t count) noexcept;
    void drop_slabs(std::uint64_t most, bool idle_only) noexcept;
    void remove_segment(std::uint32_t number) noexcept;
    std::optional<std::uint32_t> add_segment(std::uint64_t bytes);
    std::optional<std::uint32_t> cut(std::uint64_t bytes, std::uint8_t size_class);
    Block hand_out(std::uint32_t index) noexcept;
    void free_entry(std::uint32_t index) noexcept;
    std::optional<std::uint32_t> find(BlockRef ref) const noexcept;
    BlockHeader* header_of(BlockRef ref) const noexcept;
    std::uint32_t new_entry(BlockRef ref, std::uint64_t bytes, std::uint8_t size_class);

    SegmentSource& source_;
    std::uint64_t initial_bytes_;
    std::uint64_t max_bytes_;
    std::uint64_t cache_limit_;
    std::uint64_t used_bytes_ = 0;
    std::uint64_t total_bytes_ = 0;
    std::uint64_t live_blocks_ = 0;
    std::uint64_t cached_large_bytes_ = 0;
    std::uint64_t slabs_bytes_ = 0;
    std::uint64_t deaths_seen_ = 0;
    std::uint64_t last_ticket_ = 0;
    std::uint64_t large_requests_ = 0;
    std::uint64_t large_requests_seen_ = 0;
    Cutting first_;                      // segment 0: blocks of both kinds
    std::array<Cutting, 2> cuttings_{};  // other slabs: small blocks, bulk
    std::vector<Part> parts_;
    std::vector<std::uint32_t> unused_numbers_;
    std::vector<Entry> entries_;
    std::vector<std::uint32_t> unused_entries_;
    std::array<std::vector<std::uint32_t>, kClassCount> free_;
    std::vector<std::uint32_t> free_large_;
};

// A borrower's side: gives a block back to its owner. `first` is segment 0 of the owner's arena and
// `block` the header in front of the payload, both mapped by the caller. False when it is no block
// or was given back before.
bool give_back(Segment first, Segment holder, BlockRef ref) noexcept;

// A borrower's checked address of `bytes` at `ref` in the owner's segment; nullptr when it is none.
const std::byte* lent_address(Segment holder, BlockRef ref, std::uint64_t bytes) noexcept;

}  // namespace mpserve
