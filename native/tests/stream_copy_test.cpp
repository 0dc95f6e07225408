#include "mpserve/stream_copy.hpp"

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include "check.hpp"

using namespace mpserve;

namespace {

std::vector<std::byte> random_bytes(std::size_t bytes) {
    std::mt19937_64 random(check::seed());
    std::vector<std::byte> made(bytes);
    std::ranges::generate(made, [&random] { return static_cast<std::byte>(random()); });
    return made;
}

constexpr std::size_t kMargin = 256;
constexpr std::byte kUntouched{0xa5};

}  // namespace

TEST_CASE(every_byte_arrives_and_none_beside_it) {
    const auto source = random_bytes(kStreamedBytes + 2 * kMargin);
    for (const std::size_t bytes :
         {std::size_t{0}, std::size_t{1}, std::size_t{63}, kStreamedBytes - 1, kStreamedBytes,
          kStreamedBytes + 1, kStreamedBytes + 63, kStreamedBytes + 65}) {
        for (const std::size_t from : {0, 1, 15, 64}) {
            for (const std::size_t to : {0, 1, 16, 63}) {
                std::vector<std::byte> target(bytes + 2 * kMargin, kUntouched);
                stream_copy(target.data() + kMargin + to, source.data() + from, bytes);
                const auto* start = target.data() + kMargin + to;
                CHECK(std::equal(start, start + bytes, source.data() + from));
                CHECK(start[-1] == kUntouched);
                CHECK(start[bytes] == kUntouched);
            }
        }
    }
}

TEST_CASE(places_that_overlap_are_moved) {
    const auto source = random_bytes(kStreamedBytes + kMargin);
    for (const std::size_t distance : {std::size_t{0}, std::size_t{1}, std::size_t{200}}) {
        auto forward = source;
        stream_copy(forward.data() + distance, forward.data(), kStreamedBytes);
        CHECK(std::equal(source.begin(), source.begin() + kStreamedBytes,
                         forward.begin() + static_cast<std::ptrdiff_t>(distance)));
        auto backward = source;
        stream_copy(backward.data(), backward.data() + distance, kStreamedBytes);
        CHECK(std::equal(backward.begin(), backward.begin() + kStreamedBytes,
                         source.begin() + static_cast<std::ptrdiff_t>(distance)));
    }
}

int main() { return check::run_all(); }
