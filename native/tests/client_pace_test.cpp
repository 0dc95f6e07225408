// Which clients are too slow.
#include "mpserve/client_pace.hpp"
#include "check.hpp"

using namespace mpserve;

namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::uint64_t kWindow = 20 * kSecond;
constexpr std::uint64_t kLeast = 20 * PaceWindow::kLeastBytesPerSecond;

}  // namespace

TEST_CASE(who_moves_the_least_is_never_too_slow) {
    PaceWindow pace;
    for (std::uint64_t second = 1; second < 200; ++second) {
        const auto moved = second * PaceWindow::kLeastBytesPerSecond;
        CHECK(!pace.is_too_slow(second * kSecond, 1, moved, kWindow));
    }
}

TEST_CASE(a_byte_less_in_a_window_is_too_slow_and_not_before_its_end) {
    PaceWindow pace;
    CHECK(!pace.is_too_slow(kSecond, 1, 500, kWindow));
    CHECK(!pace.is_too_slow(kSecond + kWindow - 1, 1, 500, kWindow));
    CHECK(pace.is_too_slow(kSecond + kWindow, 1, 500 + kLeast - 1, kWindow));
}

TEST_CASE(something_else_begins_another_window) {
    PaceWindow pace;
    for (std::uint64_t what = 1; what < 100; ++what) {
        CHECK(!pace.is_too_slow(what * 15 * kSecond, what, 0, kWindow));
    }
    pace.stop();
    CHECK(!pace.is_too_slow(5000 * kSecond, 99, 0, kWindow));
}

TEST_CASE(any_byte_shows_that_a_client_is_not_still) {
    PaceWindow pace;
    for (std::uint64_t step = 1; step < 100; ++step) {
        CHECK(!pace.is_still(step * 15 * kSecond, 1, step, kWindow));
    }
    CHECK(!pace.is_still(99 * 15 * kSecond + kWindow - 1, 1, 99, kWindow));
    CHECK(pace.is_still(99 * 15 * kSecond + kWindow, 1, 99, kWindow));
}

TEST_CASE(without_a_window_nobody_is_too_slow) {
    PaceWindow pace;
    CHECK(!pace.is_too_slow(kSecond, 1, 0, 0));
    CHECK(!pace.is_too_slow(1'000'000 * kSecond, 1, 0, 0));
    CHECK(!pace.is_still(2'000'000 * kSecond, 1, 0, 0));
}

int main() { return check::run_all(); }
