#include "mpserve/arena.hpp"

#include <random>
#include <vector>

#include "check.hpp"
#include "map_source.hpp"
#include "shared_memory.hpp"

using namespace mpserve;
using mpserve::check::give;
using mpserve::check::MapSource;
using mpserve::check::SharedMemory;

TEST_CASE(a_block_is_aligned_writable_and_large_enough) {
    MapSource source;
    Arena arena(source, 4096, 1 << 20);
    for (const std::uint64_t bytes : {1, 448, 449, 4000, 100'000, 300'000}) {
        const auto block = arena.allocate(bytes);
        CHECK(static_cast<bool>(block));
        CHECK(block.bytes >= bytes);
        CHECK_EQUAL(reinterpret_cast<std::uintptr_t>(block.data) % 64, std::uintptr_t{0});
        std::memset(block.data, 0xee, bytes);
        arena.release(block.ref);
    }
    CHECK_EQUAL(arena.used_bytes(), std::uint64_t{0});
}

TEST_CASE(what_is_lacking_is_what_must_come_back) {
    constexpr std::uint64_t kPiece = 1 << 20;
    for (const std::uint64_t wanted : {std::uint64_t{1}, 3 * kPiece / 2, 5 * kPiece}) {
        MapSource source;
        Arena arena(source, 4096, 8 * kPiece);
        std::vector<Block> blocks;
        while (const auto block = arena.allocate(kPiece)) blocks.push_back(block);
        std::vector<Block> small;
        while (const auto block = arena.allocate(100)) small.push_back(block);
        CHECK(blocks.size() >= 6 && Arena::is_large(blocks[0]) && !Arena::is_large(small[0]));
        const auto lacking = arena.lacking(wanted);
        CHECK(lacking > 0);
        std::uint64_t back = 0;
        for (; back < lacking; blocks.pop_back()) {
            CHECK(!arena.allocate(wanted));
            back += blocks.back().bytes;
            arena.release(blocks.back().ref);
        }
        CHECK(static_cast<bool>(arena.allocate(wanted)));
    }
}

TEST_CASE(a_prepared_arena_makes_no_segment_for_its_first_blocks) {
    MapSource source;
    Arena arena(source, 1 << 16, 1 << 20);
    CHECK_EQUAL(source.memories.size(), std::size_t{0});
    arena.prepare();
    arena.prepare();
    CHECK_EQUAL(source.memories.size(), std::size_t{1});
    CHECK_EQUAL(arena.used_bytes(), std::uint64_t{0});
    for (const std::uint64_t bytes : {1, 448, 4000})
        CHECK(static_cast<bool>(arena.allocate(bytes)));
    CHECK_EQUAL(source.memories.size(), std::size_t{1});
}

TEST_CASE(an_arena_that_can_not_be_prepared_refuses_blocks_and_recovers) {
    MapSource source;
    Arena arena(source, 1 << 16, 1 << 20);
    source.refuse = true;
    arena.prepare();
    CHECK(!arena.allocate(100));
    source.refuse = false;
    CHECK(static_cast<bool>(arena.allocate(100)));
}

TEST_CASE(a_ticket_tells_one_lending_from_the_next) {
    MapSource source;
    Arena arena(source, 4096, 1 << 20);
    const auto block = arena.allocate(100);
    CHECK(!arena.is_lent(block.ref, 0));
    const auto first = arena.lend(block.ref, 3, 1);
    CHECK(arena.is_lent(block.ref, first));
    CHECK_EQUAL(arena.lend(block.ref, 3, 1), std::uint64_t{0});  // lent already
    CHECK(give(source, block.ref));
    arena.collect();
    CHECK(!arena.is_lent(block.ref, first));
    CHECK(arena.allocate(100).ref == block.ref);
    const auto second = arena.lend(block.ref, 3, 1);
    CHECK(!arena.is_lent(block.ref, first));
    CHECK(arena.is_lent(block.ref, second));
}

TEST_CASE(a_lent_block_is_not_used_again_before_it_was_given_back) {
    MapSource source;
    Arena arena(source, 4096, 1 << 20);
    const auto first = arena.allocate(100);
    arena.lend(first.ref, 3, 1);
    arena.release(first.ref);  // not the owner's to release any more
    const auto second = arena.allocate(100);
    CHECK(first.ref != second.ref);
    CHECK(give(source, first.ref));
    CHECK_EQUAL(arena.collect(), std::size_t{1});
    CHECK_EQUAL(arena.allocate(100).ref, first.ref);
}

TEST_CASE(giving_back_twice_changes_nothing) {
    MapSource source;
    Arena arena(source, 4096, 1 << 20);
    const auto block = arena.allocate(100);
    arena.lend(block.ref, 3, 1);
    CHECK(give(source, block.ref));
    CHECK(!give(source, block.ref));
    CHECK_EQUAL(arena.collect(), std::size_t{1});
    CHECK_EQUAL(arena.collect(), std::size_t{0});
    CHECK_EQUAL(arena.blocks(), std::uint64_t{0});
}

TEST_CASE(a_wrong_reference_is_refused) {
    MapSource source;
    Arena arena(source, 4096, 1 << 20);
    const auto block = arena.allocate(100);
    CHECK(!give(source, block.ref + 64));
    CHECK(!give_back(source.segment(0), source.segment(0), make_block_ref(0, 1u << 30)));
    CHECK(lent_address(source.segment(0), block.ref, block.bytes) != nullptr);
    CHECK(lent_address(source.segment(0), block.ref, block.bytes + 1) == nullptr);
    CHECK(lent_address(source.segment(0), block.ref + 8, 8) == nullptr);
    CHECK(arena.address(make_block_ref(77, 128)) == nullptr);
}

TEST_CASE(blocks_lent_to_a_dead_process_come_back_and_no_others) {
    SharedMemory table(Board::required_bytes(8));
    Board board;
    CHECK(board.format(table.segment(), 8));
    const auto dying = board.begin(3);
    const auto living = board.begin(4);
    MapSource source;
    Arena arena(source, 4096, 1 << 20);
    const auto lost = arena.allocate(100);
    const auto kept = arena.allocate(100);
    arena.lend(lost.ref, 3, dying);
    arena.lend(kept.ref, 4, living);
    CHECK_EQUAL(arena.reclaim_dead(board), std::size_t{0});
    board.end(3);
    CHECK_EQUAL(arena.reclaim_dead(board), std::size_t{1});
    CHECK_EQUAL(arena.blocks(), std::uint64_t{1});
    CHECK(board.begin(3) != dying);
}

TEST_CASE(a_message_takes_a_lent_block_back_only_from_its_borrower) {
    MapSource source;
    Arena arena(source, 4096, 1 << 20);
    const auto block = arena.allocate(100);
    arena.lend(block.ref, 3, 7);
    arena.take_back(block.ref, 3, 6);
    arena.take_back(block.ref, 2, 7);
    CHECK_EQUAL(arena.blocks(), std::uint64_t{1});
    arena.take_back(block.ref, 3, 7);
    CHECK_EQUAL(arena.blocks(), std::uint64_t{0});
}

TEST_CASE(the_limit_and_the_machine_are_told_apart_from_a_block_by_nothing_at_all) {
    MapSource source;
    Arena arena(source, 4096, 1 << 20);
    CHECK(!arena.allocate(2 << 20));
    CHECK(!arena.allocate(UINT64_MAX));
    source.refuse = true;
    CHECK(!arena.allocate(100));
    source.refuse = false;
    CHECK(static_cast<bool>(arena.allocate(100)));
}

TEST_CASE(a_small_block_after_a_large_one_lies_in_the_first_segment) {
    MapSource source;
    Arena arena(source, 1 << 20, 64 << 20);
    arena.allocate(10 << 20);
    const auto total = arena.total_bytes();
    for (int count = 0; count < 10; ++count) {
        CHECK_EQUAL(segment_of(arena.allocate(1000).ref), 0u);
    }
    CHECK_EQUAL(arena.total_bytes(), total);
}

TEST_CASE(an_unused_large_segment_makes_room_for_small_blocks) {
    MapSource source;
    Arena arena(source, 4096, 4 << 20);
    const auto small = arena.allocate(3000);
    arena.release(arena.allocate((4 << 20) - (16 << 10)).ref);  // kept for the next one
    CHECK_EQUAL(source.memories.size(), std::size_t{2});
    CHECK(static_cast<bool>(arena.allocate(200'000)));
    CHECK_EQUAL(source.memories.size(), std::size_t{2});
    arena.release(small.ref);
}

TEST_CASE(a_refusal_tells_what_was_needed_and_the_limit) {
    MapSource source;
    const Arena arena(source, 4096, 1 << 20);
    CHECK_EQUAL(arena.refusal(2 << 20, "the request"),
                std::string("Failed to increase the shared memory pool size for key 'arena' to "
                            "2097152 bytes: the request needs 2097152 bytes; enlarge /dev/shm (a "
                            "container's --shm-size), or raise --arena-max-bytes, which is "
                            "1048576"));
}

TEST_CASE(a_large_segment_is_removed_by_trim_and_its_number_used_again) {
    MapSource source;
    Arena arena(source, 4096, 64 << 20);
    const auto small = arena.allocate(100);
    const auto large = arena.allocate(1 << 20);
    const auto number = segment_of(large.ref);
    arena.release(large.ref);
    CHECK_EQUAL(arena.allocate(1 << 20).ref, large.ref);  // kept for reuse
    arena.release(large.ref);
    arena.trim();
    CHECK(!source.memories.contains(number));
    CHECK_EQUAL(segment_of(arena.allocate(2 << 20).ref), number);
    arena.release(small.ref);
}

TEST_CASE(large_segments_stay_while_large_blocks_are_asked_for) {
    MapSource source;
    Arena arena(source, 4096, 64 << 20);
    const auto block = arena.allocate(1 << 20);
    arena.release(block.ref);
    arena.trim_idle();
    CHECK(source.memories.contains(segment_of(block.ref)));
    arena.trim_idle();
    CHECK(!source.memories.contains(segment_of(block.ref)));
}

TEST_CASE(a_block_of_a_third_of_the_arena_is_kept_for_the_next_one) {
    MapSource source;
    Arena arena(source, 4096, 240 << 20);
    const auto block = arena.allocate(80 << 20);
    arena.release(block.ref);
    CHECK_EQUAL(arena.allocate(80 << 20).ref, block.ref);
    arena.release(block.ref);
}

TEST_CASE(unused_large_segments_are_half_of_the_arena_at_most) {
    MapSource source;
    Arena arena(source, 4096, 240 << 20);
    std::vector<Block> blocks;
    for (int count = 0; count < 5; ++count) blocks.push_back(arena.allocate(40 << 20));
    for (const auto& block : blocks) arena.release(block.ref);
    std::uint64_t kept = 0;
    for (const auto& [number, memory] : source.memories) kept += memory->segment().bytes();
    CHECK(kept <= 121 << 20);
    CHECK(kept >= 40 << 20);
}

TEST_CASE(random_traffic_keeps_every_block_apart_and_leaks_none) {
    std::mt19937_64 random(mpserve::check::seed());
    MapSource source;
    Arena arena(source, 4096, 256 << 20);
    struct Live {
        Block block;
        std::uint8_t mark;
        bool lent;
    };
    std::vector<Live> live;
    for (int step = 0; step < 20'000; ++step) {
        if (live.size() < 64 && random() % 2 == 0) {
            const auto bytes = 1 + random() % (random() % 50 == 0 ? 600'000 : 3000);
            const auto block = arena.allocate(bytes);
            if (!block) continue;
            const auto mark = static_cast<std::uint8_t>(random());
            std::memset(block.data, mark, std::min<std::uint64_t>(block.bytes, 512));
            const bool lent = random() % 2 == 0;
            if (lent) arena.lend(block.ref, 5, 1);
            live.push_back({block, mark, lent});
        } else if (!live.empty()) {
            const auto at = random() % live.size();
            const auto [block, mark, lent] = live[at];
            CHECK_EQUAL(static_cast<std::uint8_t>(block.data[0]), mark);
            CHECK_EQUAL(static_cast<std::uint8_t>(
                            block.data[std::min<std::uint64_t>(block.bytes, 512) - 1]),
                        mark);
            if (lent) {
                CHECK(give(source, block.ref));
            } else {
                arena.release(block.ref);
            }
            live[at] = live.back();
            live.pop_back();
        }
        if (random() % 16 == 0) arena.collect();
    }
    for (const auto& [block, mark, lent] : live) {
        lent ? void(give(source, block.ref)) : arena.release(block.ref);
    }
    arena.collect();
    CHECK_EQUAL(arena.blocks(), std::uint64_t{0});
    CHECK_EQUAL(arena.used_bytes(), std::uint64_t{0});
}

int main() { return mpserve::check::run_all(); }
