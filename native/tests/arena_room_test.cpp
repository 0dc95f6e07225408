#include <cstring>
#include <random>
#include <vector>

#include "check.hpp"
#include "map_source.hpp"
#include "mpserve/arena.hpp"

using namespace mpserve;
using mpserve::check::give;
using mpserve::check::MapSource;

namespace {

constexpr std::uint64_t kMebibyte = 1 << 20;
constexpr std::uint64_t kBulk = 200 << 10;
constexpr std::uint64_t kMessage = 1000;

std::vector<Block> fill(Arena& arena, std::uint64_t bytes) {
    std::vector<Block> blocks;
    while (const auto block = arena.allocate(bytes)) blocks.push_back(block);
    return blocks;
}

void release(Arena& arena, const std::vector<Block>& blocks) {
    for (const auto& block : blocks) arena.release(block.ref);
}

void pass_idle(Arena& arena) {
    for (int looks = 0; looks < 2; ++looks) arena.trim_idle();
}

}  // namespace

TEST_CASE(slabs_without_a_block_in_use_make_room_for_every_other_size) {
    for (const std::uint64_t first : {kMessage, 20 * kMessage, kBulk}) {
        for (const std::uint64_t next : {kMessage, 20 * kMessage, kBulk, kMebibyte}) {
            MapSource source;
            Arena arena(source, kMebibyte, 16 * kMebibyte);
            const auto held = [&] { return arena.used_bytes(); };
            auto blocks = fill(arena, next);
            const auto most = held();
            CHECK(most > 14 * kMebibyte);
            for (int round = 0; round < 3; ++round) {
                release(arena, blocks);
                release(arena, fill(arena, first));
                blocks = fill(arena, next);
                CHECK(held() >= most - 2 * kMebibyte);
            }
        }
    }
}

TEST_CASE(a_block_in_use_keeps_its_slab_and_no_other) {
    MapSource source;
    Arena arena(source, kMebibyte, 16 * kMebibyte);
    auto blocks = fill(arena, kBulk);
    const auto kept = blocks.back();
    std::memset(kept.data, 0xee, kBulk);
    blocks.pop_back();
    release(arena, blocks);
    CHECK(static_cast<bool>(arena.allocate(8 * kMebibyte)));
    CHECK(source.memories.contains(segment_of(kept.ref)));
    CHECK_EQUAL(static_cast<int>(kept.data[kBulk - 1]), 0xee);
}

TEST_CASE(nothing_goes_for_a_block_that_finds_no_room_all_the_same) {
    MapSource source;
    Arena arena(source, kMebibyte, 16 * kMebibyte);
    const auto large = arena.allocate(8 * kMebibyte);
    release(arena, fill(arena, kBulk));
    const auto before = source.memories.size();
    CHECK(before > 2);
    CHECK(!arena.allocate(8 * kMebibyte));
    CHECK_EQUAL(source.memories.size(), before);
    CHECK(arena.lacking(8 * kMebibyte) <= 2 * kMebibyte);
    arena.release(large.ref);
    CHECK(static_cast<bool>(arena.allocate(8 * kMebibyte)));
}

TEST_CASE(small_blocks_in_use_do_not_keep_slabs_of_bulk) {
    MapSource source;
    Arena arena(source, 4096, 16 * kMebibyte);
    std::vector<Block> bulk;
    for (int count = 0; count < 40; ++count) {
        bulk.push_back(arena.allocate(kBulk));
        CHECK(bulk.back() && arena.allocate(kMessage));
    }
    release(arena, bulk);
    CHECK(static_cast<bool>(arena.allocate(12 * kMebibyte)));
}

TEST_CASE(no_more_slabs_go_than_a_block_needs) {
    MapSource source;
    Arena arena(source, kMebibyte, 16 * kMebibyte);
    release(arena, fill(arena, kBulk));
    CHECK(source.held() > 15 * kMebibyte);
    CHECK(static_cast<bool>(arena.allocate(kMebibyte)));
    CHECK(source.held() > 11 * kMebibyte);  // one of 4 MiB went, and the last one, which is smaller
}

TEST_CASE(all_that_is_unused_goes_when_the_machine_has_no_memory) {
    MapSource source;
    Arena arena(source, kMebibyte, 64 * kMebibyte);
    source.room = 16 * kMebibyte;
    release(arena, fill(arena, kBulk));
    CHECK(source.held() > 12 * kMebibyte);
    CHECK(static_cast<bool>(arena.allocate(12 * kMebibyte)));
}

TEST_CASE(a_small_block_takes_the_place_of_a_larger_one_when_nothing_else_is_left) {
    MapSource source;
    Arena arena(source, kMebibyte, 2 * kMebibyte);
    const auto blocks = fill(arena, kBulk);
    fill(arena, kMessage);
    CHECK(!arena.allocate(kMessage));
    arena.release(blocks[1].ref);
    const auto small = arena.allocate(kMessage);
    CHECK_EQUAL(small.ref, blocks[1].ref);
    arena.release(small.ref);
    CHECK_EQUAL(arena.allocate(kBulk).ref, blocks[1].ref);
}

TEST_CASE(slabs_stay_while_their_blocks_are_asked_for) {
    MapSource source;
    Arena arena(source, 4096, 16 * kMebibyte);
    arena.release(arena.allocate(kMessage).ref);
    const auto bulk = arena.allocate(kBulk);
    arena.release(bulk.ref);
    for (int looks = 0; looks < 5; ++looks) {
        arena.trim_idle();
        CHECK_EQUAL(arena.allocate(kBulk).ref, bulk.ref);
        arena.release(bulk.ref);
    }
    CHECK(!arena.is_at_rest());
    pass_idle(arena);
    CHECK(arena.is_at_rest());
    CHECK_EQUAL(source.memories.size(), std::size_t{1});
    CHECK_EQUAL(arena.total_bytes(), source.held());
}

TEST_CASE(the_next_slab_after_an_idle_time_is_as_small_as_the_first_ones) {
    MapSource source;
    Arena arena(source, kMebibyte, 64 * kMebibyte);
    release(arena, fill(arena, kBulk));
    pass_idle(arena);
    release(arena, {arena.allocate(kBulk), arena.allocate(kBulk), arena.allocate(kBulk),
                    arena.allocate(kBulk)});
    CHECK(source.held() <= 3 * kMebibyte);
}

TEST_CASE(who_maps_a_removed_slab_sees_that_it_is) {
    MapSource source;
    Arena arena(source, 4096, 16 * kMebibyte);
    arena.release(arena.allocate(kMessage).ref);
    const auto block = arena.allocate(kBulk);
    const auto number = segment_of(block.ref);
    CHECK(number != 0);
    arena.lend(block.ref, 3, 1);
    const auto mapped = source.memories.at(number);
    const auto retired = [&] { return mapped->segment().at<ArenaHeader>(0)->retired.load() != 0; };
    pass_idle(arena);
    CHECK(!retired());  // it is lent
    CHECK(give(source, block.ref));
    arena.collect();
    pass_idle(arena);
    CHECK(retired());
    // A message that comes too late for it says nothing of the next one of that number.
    const auto next = arena.allocate(kBulk);
    CHECK_EQUAL(next.ref, block.ref);
    CHECK(!source.segment(number).at<ArenaHeader>(0)->retired.load());
    CHECK_EQUAL(arena.collect(), std::size_t{0});
}

// Sizes of all kinds, in an arena that is often full, against what the test knows to be in use.
TEST_CASE(random_traffic_of_a_full_arena_loses_neither_blocks_nor_room) {
    std::mt19937_64 random(mpserve::check::seed());
    constexpr std::uint64_t kMost = 8 * kMebibyte;
    MapSource source;
    Arena arena(source, 1 << 16, kMost);
    struct Live {
        Block block;
        std::uint8_t mark;
        bool lent;
    };
    std::vector<Live> live;
    std::uint64_t refused = 0;
    const auto give_up = [&](std::size_t at) {
        const auto [block, mark, lent] = live[at];
        CHECK_EQUAL(static_cast<std::uint8_t>(block.data[0]), mark);
        CHECK_EQUAL(static_cast<std::uint8_t>(block.data[block.bytes - 1]), mark);
        lent ? void(CHECK(give(source, block.ref))) : arena.release(block.ref);
        live[at] = live.back();
        live.pop_back();
    };
    for (int step = 0; step < 30'000; ++step) {
        source.room = random() % 8 == 0 ? kMost / 2 : UINT64_MAX;
        const auto crowd = (step / 1000) % 2 == 0 ? 400u : 4u;  // bursts, and times without
        if (live.size() < crowd && random() % 5 < 3) {
            const auto bytes = (std::uint64_t{1} << (5 + random() % 15)) + random() % 100;
            const auto block = arena.allocate(bytes);
            if (block) {
                CHECK(block.bytes >= bytes);
                const auto mark = static_cast<std::uint8_t>(random());
                block.data[0] = block.data[block.bytes - 1] = static_cast<std::byte>(mark);
                const bool lent = random() % 2 == 0;
                if (lent) CHECK(arena.lend(block.ref, 5, 1) != 0);
                live.push_back({block, mark, lent});
            } else {
                ++refused;
            }
        } else if (!live.empty()) {
            give_up(random() % live.size());
        }
        if (random() % 16 == 0) arena.collect();
        if (random() % 64 == 0) arena.trim_idle();
        if (random() % 512 == 0) arena.trim();
        CHECK(arena.total_bytes() <= kMost);
        CHECK_EQUAL(arena.total_bytes(), source.held());
    }
    CHECK(refused > 0);
    while (!live.empty()) give_up(live.size() - 1);
    arena.collect();
    CHECK_EQUAL(arena.blocks(), std::uint64_t{0});
    CHECK_EQUAL(arena.used_bytes(), std::uint64_t{0});
    source.room = UINT64_MAX;
    CHECK(static_cast<bool>(arena.allocate(kMost - kMebibyte)));
}

int main() { return mpserve::check::run_all(); }
