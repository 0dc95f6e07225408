#include "mpserve/region_table.hpp"

#include <cstdint>
#include <limits>
#include <vector>

#include "check.hpp"
#include "codec_fixtures.hpp"

using namespace mpserve;
using enum mpserve::RegionFault;

namespace {

using Ids = std::vector<std::uint64_t>;

StringMap<RegionPiece> rows(std::initializer_list<std::uint64_t> ids) {
    StringMap<RegionPiece> made;
    for (const auto id : ids) {
        made.emplace("r" + std::to_string(id), RegionPiece{.id = id, .offset = 100, .bytes = 40});
    }
    return made;
}

RegionFault fault(const RegionTable& table, std::uint64_t offset, std::uint64_t bytes) {
    RegionPiece piece;
    return table.place({.name = "r1", .offset = offset, .bytes = bytes}, piece);
}

}  // namespace

TEST_CASE(a_piece_lies_inside_its_registration) {
    RegionTable table;
    table.publish(rows({1, 2}));
    RegionPiece piece;
    CHECK(table.place({.name = "r2", .offset = 8, .bytes = 32}, piece) == none);
    CHECK_EQUAL(piece.id, 2u);
    CHECK_EQUAL(piece.offset, 108u);
    CHECK_EQUAL(piece.bytes, 32u);
}

TEST_CASE(what_does_not_lie_inside_is_refused_whatever_the_numbers) {
    constexpr auto most = std::numeric_limits<std::uint64_t>::max();
    RegionTable table;
    RegionPiece piece;
    CHECK(table.place({.name = "r1", .offset = 0, .bytes = 1}, piece) == unknown);
    table.publish(rows({1}));
    CHECK(table.place({.name = "", .offset = 0, .bytes = 1}, piece) == unknown);
    CHECK(fault(table, 39, 1) == none);
    CHECK(fault(table, 40, 1) == offset);
    CHECK(fault(table, most, most) == offset);
    CHECK(fault(table, 0, 0) == size);
    CHECK(fault(table, 0, 41) == size);
    CHECK(fault(table, 39, 2) == size);
    CHECK(fault(table, 1, most) == size);
}

TEST_CASE(a_name_means_what_was_published_last) {
    RegionTable table;
    table.publish(rows({1}));
    StringMap<RegionPiece> again;
    again.emplace("r1", RegionPiece{.id = 7, .offset = 0, .bytes = 8});
    table.publish(std::move(again));
    RegionPiece piece;
    CHECK(table.place({.name = "r1", .offset = 0, .bytes = 8}, piece) == none);
    CHECK_EQUAL(piece.id, 7u);
    CHECK(fault(table, 0, 9) == size);
}

TEST_CASE(what_was_withdrawn_is_in_use_until_the_last_hold_ends) {
    RegionTable table;
    table.publish(rows({1, 2, 3}));
    const Ids first{2, 1, 2};
    const Ids second{2};
    table.hold(first);
    table.hold(second);
    CHECK(table.in_use().empty());
    table.publish(rows({1}));
    CHECK(table.in_use() == Ids{2});
    CHECK(!table.let_go(first));
    CHECK(table.in_use() == Ids{2});
    CHECK(table.let_go(second));
    CHECK(table.in_use().empty());
}

TEST_CASE(who_lets_go_of_what_is_still_registered_tells_nobody) {
    RegionTable table;
    table.publish(rows({1}));
    const Ids ids{1, 1};
    table.hold(ids);
    CHECK(!table.let_go(ids));
    CHECK(!table.let_go(ids));  // once too often changes nothing
    table.publish({});
    CHECK(table.in_use().empty());
}

TEST_CASE(a_region_may_come_back_while_it_is_in_use) {
    RegionTable table;
    table.publish(rows({1}));
    const Ids ids{1};
    table.hold(ids);
    table.publish({});
    CHECK(table.in_use() == ids);
    table.publish(rows({1}));
    CHECK(table.in_use().empty());
    CHECK(!table.let_go(ids));
}

TEST_CASE(a_request_tells_its_regions) {
    fixtures::TestBlock block(4096);
    MessageBuilder builder;
    builder.begin(block.data(), block.bytes(), block.bytes(), MessageKind::request);
    constexpr std::int64_t shape[] = {2};
    CHECK(builder.append_tensor("A", Datatype::fp32, shape, 8) != nullptr);
    CHECK(builder.refer_region("B", Datatype::fp32, shape, 5, 0, 8));
    OutputRecord record{};
    CHECK(builder.append_output(record));
    record.region = 6;
    CHECK(builder.append_output(record));
    CHECK(builder.finish());
    const auto view = MessageView::open(block.data(), block.bytes());
    CHECK(view.has_value());
    if (view) CHECK(regions_of(*view) == (Ids{5, 6}));
}

int main() { return check::run_all(); }
