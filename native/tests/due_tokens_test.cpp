// Tokens by the moment at which they are due.
#include <set>
#include <vector>

#include "check.hpp"
#include "mpserve/due_tokens.hpp"

using namespace mpserve;

namespace {

constexpr auto kAll = [](std::uint64_t) { return true; };

std::vector<std::uint64_t> taken(DueTokens& tokens, std::uint64_t now) {
    std::vector<std::uint64_t> found;
    while (const auto token = tokens.take(now)) found.push_back(token);
    return found;
}

}  // namespace

TEST_CASE(tokens_come_when_they_are_due_the_earliest_first) {
    DueTokens tokens;
    CHECK_EQUAL(tokens.next_ns(), std::uint64_t{0});
    for (const auto token : {30, 10, 20}) {
        tokens.add(100 + static_cast<std::uint64_t>(token), static_cast<std::uint64_t>(token),
                   kAll);
    }
    CHECK_EQUAL(tokens.next_ns(), std::uint64_t{110});
    CHECK(taken(tokens, 109).empty());
    CHECK(taken(tokens, 120) == (std::vector<std::uint64_t>{10, 20}));
    CHECK(taken(tokens, 1000) == (std::vector<std::uint64_t>{30}));
    CHECK_EQUAL(tokens.size(), std::size_t{0});
}

TEST_CASE(tokens_that_nobody_wants_do_not_pile_up) {
    DueTokens tokens;
    std::set<std::uint64_t> wanted;
    const auto is_wanted = [&](std::uint64_t token) { return wanted.contains(token); };
    for (std::uint64_t token = 1; token <= 100'000; ++token) {
        tokens.add(1'000'000 - token, token, is_wanted);
        if (token % 1000 == 0) wanted.insert(token);
    }
    CHECK(tokens.size() <= DueTokens::kLookFrom + 2 * wanted.size());
    // Nothing that is wanted was lost, and the order stays.
    std::uint64_t before = UINT64_MAX;
    std::size_t found = 0;
    while (const auto token = tokens.take(1'000'000)) {
        CHECK(token < before);
        before = token;
        found += wanted.contains(token) ? 1 : 0;
    }
    CHECK_EQUAL(found, wanted.size());
}

TEST_CASE(tokens_that_are_wanted_stay_however_many_they_are) {
    DueTokens tokens;
    for (std::uint64_t token = 1; token <= 5000; ++token) tokens.add(token, token, kAll);
    CHECK_EQUAL(tokens.size(), std::size_t{5000});
    CHECK_EQUAL(taken(tokens, 5000).size(), std::size_t{5000});
}

int main() { return mpserve::check::run_all(); }
