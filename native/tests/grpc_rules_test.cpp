// Header values, and what a connection may ask of the server.
#include <string>

#include "check.hpp"
#include "mpserve/frame_budget.hpp"
#include "mpserve/grpc_header.hpp"
#include "mpserve/http2_library.hpp"
#include "mpserve/ping_strikes.hpp"

using namespace mpserve;

namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;

std::uint64_t timeout(std::string_view text) { return grpc_timeout_ns(text).value_or(UINT64_MAX); }

}  // namespace

TEST_CASE(timeouts_have_digits_and_a_unit) {
    CHECK_EQUAL(timeout("1S"), kSecond);
    CHECK_EQUAL(timeout("0n"), 0u);
    CHECK_EQUAL(timeout("99999999u"), 99'999'999'000u);
    CHECK_EQUAL(timeout("2M"), 120 * kSecond);
    CHECK_EQUAL(timeout("1H"), 3600 * kSecond);
    CHECK_EQUAL(timeout("250m"), 250'000'000u);
    for (const char* text : {"", "S", "1", "1s", "123456789S", "-1S", "1.5S", "1 S", " 1S"}) {
        CHECK(!grpc_timeout_ns(text));
    }
}

TEST_CASE(the_longest_timeout_can_be_added_to_a_clock) {
    const auto longest = timeout("99999999H");
    CHECK(longest > kSecond * 3600 * 24 * 36500);
    CHECK(longest + kSecond * 3600 * 24 * 36500 > longest);
}

TEST_CASE(encodings_are_found_in_a_list) {
    CHECK_EQUAL(grpc_encodings(""), 1);
    CHECK_EQUAL(grpc_encodings("identity, deflate, gzip"), 7);
    CHECK_EQUAL(grpc_encodings("gzip"), 3);
    CHECK_EQUAL(grpc_encodings("br ,\tdeflate\t,"), 5);
    CHECK(grpc_encoding("br") == GrpcEncoding::unknown);
    CHECK(grpc_encoding("") == GrpcEncoding::identity);
}

TEST_CASE(content_types_of_grpc) {
    for (const char* text : {"application/grpc", "application/grpc+proto", "application/grpc;a"}) {
        CHECK(is_grpc_content_type(text));
    }
    for (const char* text : {"", "application/json", "application/grpc-web", "application/grp"}) {
        CHECK(!is_grpc_content_type(text));
    }
}

TEST_CASE(messages_are_printable_in_headers) {
    CHECK_EQUAL(percent_encode("plain ~ text"), "plain ~ text");
    CHECK_EQUAL(percent_encode("100%\n\xc3\xa4\x7f"), "100%25%0A%C3%A4%7F");
    CHECK_EQUAL(percent_encode(std::string_view("\0", 1)), "%00");
}

TEST_CASE(a_budget_is_a_burst_and_a_rate) {
    FrameBudget budget;
    std::uint64_t now = 5 * kSecond;
    for (std::uint32_t frame = 0; frame < FrameBudget::kBurst; ++frame) CHECK(budget.spend(now));
    CHECK(!budget.spend(now));
    now += kSecond / FrameBudget::kPerSecond;
    CHECK(budget.spend(now));
    CHECK(!budget.spend(now));
    budget.earn();
    CHECK(budget.spend(now));
    CHECK(!budget.spend(now));
    now += 3600 * kSecond;  // a long rest gives no more than a burst
    for (std::uint32_t frame = 0; frame < FrameBudget::kBurst; ++frame) CHECK(budget.spend(now));
    CHECK(!budget.spend(now));
}

TEST_CASE(early_pings_are_strikes) {
    const PingStrikes::Limits limits{.min_interval_ns = 10 * kSecond, .max_strikes = 2};
    PingStrikes strikes;
    std::uint64_t now = kSecond;
    CHECK(strikes.on_ping(now, true, limits));
    CHECK(strikes.on_ping(now += 10 * kSecond, true, limits));
    CHECK(strikes.on_ping(now += kSecond, true, limits));
    CHECK(strikes.on_ping(now += kSecond, true, limits));
    CHECK(!strikes.on_ping(now += kSecond, true, limits));
    strikes.forgive();
    CHECK(strikes.on_ping(now += kSecond, true, limits));
}

TEST_CASE(pings_without_calls_must_be_rarer) {
    PingStrikes::Limits limits{.min_interval_ns = kSecond, .max_strikes = 1};
    PingStrikes strikes;
    CHECK(strikes.on_ping(kSecond, false, limits));
    CHECK(strikes.on_ping(9 * kSecond, false, limits));
    CHECK(!strikes.on_ping(18 * kSecond, false, limits));
    limits.permit_without_calls = true;
    strikes.forgive();
    CHECK(strikes.on_ping(19 * kSecond, false, limits));
    CHECK(strikes.on_ping(21 * kSecond, false, limits));
}

TEST_CASE(any_number_of_pings_where_no_strikes_are_counted) {
    PingStrikes strikes;
    for (int ping = 0; ping < 100; ++ping) CHECK(strikes.on_ping(kSecond, true, {kSecond, 0}));
}

TEST_CASE(a_library_that_is_not_there_is_told) {
    std::string reason;
    CHECK(http2::load_library("libnghttp2.so.none", reason) == nullptr);
    CHECK(reason.find("libnghttp2.so.none") != std::string::npos);
}

TEST_CASE(another_library_is_not_taken_for_it) {
    std::string reason;
    CHECK(http2::load_library("libc.so.6", reason) == nullptr);
    CHECK_EQUAL(reason, "libc.so.6 is too old: it has no nghttp2_session_callbacks_new");
}

int main() { return check::run_all(); }
