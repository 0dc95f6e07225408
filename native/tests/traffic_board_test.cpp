// Counts of what clients asked, and what of them outlives a frontend.

#include "mpserve/traffic_board.hpp"

#include <string>

#include "check.hpp"
#include "shared_memory.hpp"

using namespace mpserve;
using mpserve::check::SharedMemory;

namespace {

constexpr std::uint64_t kMs = 1'000'000;

struct Fixture {
    Fixture() : memory(TrafficBoard::required_bytes(2)) {
        CHECK(board.format(memory.segment(), 2));
        traffic = Traffic(board.area(0));
    }
    std::uint64_t rows() {
        std::uint64_t used = 0;
        for (const auto& key : board.area(0).keys) used += key.load() != 0;
        return used;
    }
    SharedMemory memory;
    TrafficBoard board;
    Traffic traffic;
};

}  // namespace

TEST_CASE(answers_are_counted_by_place_kind_status_and_time) {
    Fixture f;
    const auto infer = f.traffic.place(TrafficKind::get, "/infer");
    f.traffic.answered(infer, TrafficKind::post, 200, 5 * kMs);
    f.traffic.answered(infer, TrafficKind::post, 200, 5 * kMs + 1);
    f.traffic.answered(infer, TrafficKind::post, 200, 11'000 * kMs);
    f.traffic.answered(infer, TrafficKind::post, 404, 1);
    f.traffic.answered(infer, TrafficKind::get, 200, 1);
    CHECK_EQUAL(f.rows(), 3u);
    const auto& row = f.board.area(0).rows[0];
    CHECK_EQUAL(row.sum.load(), 11'010 * kMs + 1);
    CHECK_EQUAL(row.buckets[0].load(), 1u);
    CHECK_EQUAL(row.buckets[1].load(), 1u);
    CHECK_EQUAL(row.buckets[kTrafficBuckets - 1].load(), 1u);
    CHECK_EQUAL(f.board.area(0).keys[0].load(),
                std::uint64_t{1} << 32 | std::uint64_t{1} << 16 | 200);
}

TEST_CASE(rows_that_share_a_place_in_the_memory_of_rows_are_told_apart) {
    Fixture f;
    const auto infer = f.traffic.place(TrafficKind::get, "/infer");
    for (int round = 0; round < 2; ++round) {
        for (std::uint32_t status = 200; status < 240; ++status) {
            f.traffic.answered(infer, TrafficKind::post, status, 1);
        }
    }
    CHECK_EQUAL(f.rows(), 40u);
    for (std::size_t index = 0; index < 40; ++index) {
        CHECK_EQUAL(f.board.area(0).rows[index].buckets[0].load(), 2u);
    }
}

TEST_CASE(a_place_is_found_again_and_long_texts_are_cut) {
    Fixture f;
    const auto first = f.traffic.place(TrafficKind::unary, "/a/B");
    CHECK(f.traffic.place(TrafficKind::get, "/a/B") != first);
    CHECK(f.traffic.place(TrafficKind::unary, "/a/Bc") != first);
    CHECK_EQUAL(f.traffic.place(TrafficKind::unary, "/a/B"), first);
    const std::string text(kTrafficTextBytes + 1, 'x');
    CHECK_EQUAL(f.traffic.place(TrafficKind::get, text),
                f.traffic.place(TrafficKind::get, text.substr(1)));
}

TEST_CASE(with_no_place_left_there_is_none) {
    Fixture f;
    for (std::uint32_t index = 0; index < kTrafficPlaces; ++index) {
        CHECK_EQUAL(f.traffic.place(TrafficKind::get, std::to_string(index)), index);
    }
    CHECK_EQUAL(f.traffic.place(TrafficKind::get, "more"), kNoPlace);
    CHECK_EQUAL(f.traffic.place(TrafficKind::get, "7"), 7u);
}

TEST_CASE(with_no_row_left_an_answer_counts_beside_its_like) {
    Fixture f;
    const auto place = f.traffic.place(TrafficKind::get, "/a");
    const auto other = f.traffic.place(TrafficKind::get, "/b");
    for (std::uint32_t status = 1; status <= kTrafficRows; ++status) {
        f.traffic.answered(place, TrafficKind::get, status, 1);
    }
    f.traffic.answered(place, TrafficKind::get, 999, 1);
    f.traffic.answered(other, TrafficKind::get, 200, 1);
    std::uint64_t answers = 0;
    for (const auto& row : f.board.area(0).rows) answers += row.buckets[0].load();
    CHECK_EQUAL(answers, kTrafficRows + 1);
}

TEST_CASE(a_successor_goes_on_counting_but_has_nothing_in_progress) {
    Fixture f;
    const auto place = f.traffic.place(TrafficKind::unary, "/a/B");
    f.traffic.begin(TrafficKind::post);
    f.traffic.begin(TrafficKind::post);
    f.traffic.end(TrafficKind::post);
    f.traffic.call_began(place);
    f.traffic.answered(place, TrafficKind::unary, 0, 1);
    CHECK_EQUAL(f.board.area(0).in_progress[1].load(), 1u);

    Traffic successor(f.board.area(0));
    CHECK_EQUAL(f.board.area(0).in_progress[1].load(), 0u);
    CHECK_EQUAL(successor.place(TrafficKind::unary, "/a/B"), place);
    successor.call_began(place);
    successor.answered(place, TrafficKind::unary, 0, 1);
    CHECK_EQUAL(f.board.area(0).places[place].started.load(), 2u);
    CHECK_EQUAL(f.board.area(0).rows[0].buckets[0].load(), 2u);
    CHECK_EQUAL(f.board.area(1).keys[0].load(), 0u);
}

TEST_CASE(requests_in_flight_are_counted_by_their_number) {
    Fixture f;
    for (const std::uint32_t requests : {1u, 2u, 5u, 6u, 10u, 11u})
        f.traffic.found_in_flight(requests);
    const auto& row = f.board.area(0).in_flight;
    CHECK_EQUAL(row.sum.load(), 35u);
    for (const std::size_t bucket : {9, 10, 11, 12, 13, 14})
        CHECK_EQUAL(row.buckets[bucket].load(), 1u);
}

TEST_CASE(another_segment_is_refused) {
    SharedMemory memory(TrafficBoard::required_bytes(1));
    TrafficBoard board;
    CHECK(!board.attach(memory.segment()));
    CHECK(!board.format(memory.segment(), 2));
}

int main() { return mpserve::check::run_all(); }
