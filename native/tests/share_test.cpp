// Who gets how much, and who gives way.
#include "mpserve/share.hpp"

#include "check.hpp"

using namespace mpserve;

namespace {

using Tokens = std::vector<std::uint64_t>;

constexpr int kBig = 0;
constexpr int kBigger = 1;

std::vector<QueuePush> pushes(std::initializer_list<std::uint64_t> sizes) {
    std::vector<QueuePush> all;
    for (const auto bytes : sizes) {
        QueuePush push{};
        push.request.block_bytes = bytes;
        all.push_back(push);
    }
    return all;
}

// Requests of ten bytes each, the tokens counted from `first`.
std::vector<Waiting> line(const void* model, std::uint64_t first, std::uint64_t count,
                          std::uint64_t held) {
    std::vector<Waiting> all;
    for (std::uint64_t index = 0; index < count; ++index) {
        all.push_back(
            {.token = first + index, .bytes = 10, .came_ns = index, .model = model, .held = held});
    }
    return all;
}

}  // namespace

TEST_CASE(one_alone_has_half_and_a_dozen_leave_some) {
    std::uint64_t free = 1 << 20;
    CHECK_EQUAL(share_left(free, 0), std::uint64_t{1} << 19);
    CHECK_EQUAL(share_left(free / 2, free / 2), std::uint64_t{0});
    for (int model = 0; model < 12; ++model) {
        const auto taken = share_left(free, 0);
        free -= taken;
        CHECK_EQUAL(share_left(free, taken), std::uint64_t{0});
    }
    CHECK(share_left(free, 0) > 0);
}

TEST_CASE(pushes_fit_up_to_the_share_and_the_least_in_any_case) {
    const auto next = pushes({40, 40, 40});
    CHECK_EQUAL(fitting(next, 1000, 0), std::size_t{3});
    CHECK_EQUAL(fitting(next, 80, 0), std::size_t{2});
    CHECK_EQUAL(fitting(next, 79, 0), std::size_t{1});
    CHECK_EQUAL(fitting(next, 0, 0), std::size_t{0});
    CHECK_EQUAL(fitting(next, 0, 2), std::size_t{2});
    CHECK_EQUAL(fitting({}, 0, 2), std::size_t{0});
}

TEST_CASE(what_came_last_of_who_holds_most_gives_way) {
    auto waiting = line(&kBig, 1, 5, 60);
    const auto more = line(&kBigger, 11, 5, 100);
    waiting.insert(waiting.end(), more.begin(), more.end());
    CHECK(who_give_way(waiting, 15, 10) == (Tokens{15, 14}));
}

TEST_CASE(nobody_gives_way_in_vain) {
    CHECK(who_give_way(line(&kBig, 1, 3, 100), 40, 10).empty());
    CHECK(who_give_way({}, 1, 1).empty());
}

TEST_CASE(nobody_comes_to_hold_less_than_who_it_gave_way_to) {
    CHECK(who_give_way(line(&kBig, 1, 5, 50), 10, 40) == (Tokens{5}));
    CHECK(who_give_way(line(&kBig, 1, 5, 50), 10, 41).empty());
    CHECK(who_give_way(line(&kBig, 1, 5, 50), 20, 40).empty());
}

int main() { return mpserve::check::run_all(); }
