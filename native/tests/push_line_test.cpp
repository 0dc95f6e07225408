// What a frontend has accepted and not yet pushed.
#include "mpserve/push_line.hpp"

#include <algorithm>
#include <random>
#include <tuple>

#include "check.hpp"

using namespace mpserve;

namespace {

using Tokens = std::vector<std::uint64_t>;

constexpr std::size_t kAll = SIZE_MAX;

std::uint64_t add(PushLine& line, std::uint64_t token, std::uint64_t level = 0) {
    QueuePush push{};
    push.request.token = token;
    push.request.level = level;
    return line.add(push);
}

Tokens tokens(std::span<const QueuePush> pushes) {
    Tokens all;
    for (const auto& push : pushes) all.push_back(push.request.token);
    return all;
}

Tokens take_all(PushLine& line) {
    Tokens all;
    while (!line.empty()) {
        const auto next = line.front(kAll);
        for (const auto token : tokens(next)) all.push_back(token);
        line.drop(next.size());
    }
    return all;
}

}  // namespace

TEST_CASE(they_leave_in_the_order_they_came_as_many_as_are_wanted) {
    PushLine line;
    for (std::uint64_t token = 1; token <= 5; ++token) add(line, token);
    CHECK(tokens(line.front(2)) == (Tokens{1, 2}));
    line.drop(1);
    CHECK(tokens(line.front(kAll)) == (Tokens{2, 3, 4, 5}));
    CHECK_EQUAL(line.size(), std::size_t{4});
}

TEST_CASE(an_urgent_level_goes_first_and_equals_keep_their_order) {
    PushLine line;
    add(line, 1, 7);
    add(line, 2, 3);
    add(line, 3, 7);
    add(line, 4, 3);
    CHECK(take_all(line) == (Tokens{2, 4, 1, 3}));
}

TEST_CASE(what_is_taken_back_never_goes) {
    PushLine line;
    std::vector<std::uint64_t> serials;
    for (std::uint64_t token = 0; token < 5; ++token) serials.push_back(add(line, token));
    CHECK(line.take_back(0, serials[2]));
    CHECK(tokens(line.front(kAll)) == (Tokens{0, 1}));
    CHECK(line.take_back(0, serials[0]));
    CHECK(!line.take_back(0, serials[0]));
    CHECK(take_all(line) == (Tokens{1, 3, 4}));
}

TEST_CASE(what_went_or_was_never_there_is_not_taken_back) {
    PushLine line;
    const auto gone = add(line, 1);
    const auto here = add(line, 2);
    line.drop(1);
    CHECK(!line.take_back(0, gone));
    CHECK(!line.take_back(0, 0));
    CHECK(!line.take_back(0, here + 1));
    CHECK(!line.take_back(1, here));
    CHECK(line.holds(0, here) && !line.holds(1, here));
    CHECK(line.take_back(0, here));
    CHECK(!line.holds(0, here));
    CHECK(line.empty());
    CHECK(line.front(kAll).empty());
}

TEST_CASE(a_line_that_was_emptied_serves_another_level) {
    PushLine line;
    const auto first = add(line, 1, 9);
    line.drop(1);
    add(line, 2, 4);
    CHECK(!line.take_back(9, first));
    CHECK(take_all(line) == Tokens{2});
}

// Against a plain list that is sorted for each look.
TEST_CASE(any_course_leaves_the_same_as_a_sorted_list) {
    std::mt19937_64 random(check::seed());
    for (int round = 0; round < 200; ++round) {
        struct One {
            std::uint64_t level, serial, token;
        };
        PushLine line;
        std::vector<One> model;
        const auto levels = 1 + random() % 4;
        for (std::uint64_t step = 0; step < 1500; ++step) {
            const auto choice = random() % 8;
            if (choice < 5) {
                const auto level = random() % levels;
                model.push_back({level, add(line, step, level), step});
            } else if (choice < 7 && !model.empty()) {
                const auto at = static_cast<std::ptrdiff_t>(random() % model.size());
                CHECK(line.take_back(model[static_cast<std::size_t>(at)].level,
                                     model[static_cast<std::size_t>(at)].serial));
                model.erase(model.begin() + at);
            } else {
                std::ranges::stable_sort(model, {}, &One::level);
                const auto next = line.front(1 + random() % 600);
                CHECK_EQUAL(next.empty(), model.empty());
                for (std::size_t index = 0; index < next.size(); ++index) {
                    CHECK_EQUAL(next[index].request.token, model[index].token);
                }
                const auto count = next.size() == 0 ? 0 : random() % (next.size() + 1);
                line.drop(count);
                model.erase(model.begin(), model.begin() + static_cast<std::ptrdiff_t>(count));
            }
            CHECK_EQUAL(line.size(), model.size());
        }
        std::ranges::stable_sort(model, {}, &One::level);
        Tokens expected;
        for (const auto& one : model) expected.push_back(one.token);
        CHECK(take_all(line) == expected);
    }
}

int main() { return mpserve::check::run_all(); }
