#include "mpserve/json_number.hpp"

#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <random>
#include <string>

#include "check.hpp"
#include "mpserve/shortest_decimal.hpp"

using namespace mpserve;

namespace {

// Reads `text` as a whole; NaN when it is not taken.
double read(std::string text) {
    text += ']';
    double value = 0;
    bool is_integer_literal = false;
    const char* behind =
        read_double(text.data(), text.data() + text.size(), value, is_integer_literal);
    return behind == text.data() + text.size() - 1 ? value : std::nan("");
}

template <typename Integer>
bool reads_integer(std::string text, Integer wanted) {
    text += ']';
    Integer value{};
    const char* behind = read_integer(text.data(), text.data() + text.size(), value);
    return behind == text.data() + text.size() - 1 && value == wanted;
}

template <typename Integer>
bool refuses_integer(std::string text) {
    text += ']';
    Integer value{};
    return read_integer(text.data(), text.data() + text.size(), value) == nullptr;
}

std::string print(double value) {
    char text[kMaxDoubleChars];
    return {text, write_double(text, value)};
}

bool same_bits(double a, double b) {
    return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
}

// Compares with the C library, which rounds exactly.
void check_like_strtod(const std::string& text) {
    const double wanted = std::strtod(text.c_str(), nullptr);
    const double got = read(text);
    if (std::isfinite(wanted) && (wanted != 0 || text.find_first_of("123456789") == text.npos)) {
        if (!same_bits(got, wanted)) check::fail(__FILE__, __LINE__, "not exact: " + text);
    } else if (!std::isnan(got) && !same_bits(got, wanted)) {
        check::fail(__FILE__, __LINE__, "not exact: " + text);
    }
}

// The fewest digits that strtod reads back, found by trying.
int fewest_digits(double value) {
    char text[64];
    for (int digits = 1; digits < 17; ++digits) {
        std::snprintf(text, sizeof text, "%.*e", digits - 1, value);
        if (std::strtod(text, nullptr) == value) return digits;
    }
    return 17;
}

int count_digits(std::string_view text) {
    std::string digits;
    for (const char byte : text.substr(0, text.find('e'))) {
        if (byte >= '0' && byte <= '9') digits += byte;
    }
    digits.erase(0, digits.find_first_not_of('0'));
    const auto last = digits.find_last_not_of('0');
    return last == std::string::npos ? 0 : static_cast<int>(last) + 1;
}

void check_printing(double value) {
    const auto text = print(value);
    if (!same_bits(std::strtod(text.c_str(), nullptr), value)) {
        check::fail(__FILE__, __LINE__, "does not read back: " + text);
    }
    if (text.find_first_of(".e") == std::string::npos) {
        check::fail(__FILE__, __LINE__, "no point: " + text);
    }
    if (value != 0 && count_digits(text) > fewest_digits(value)) {
        check::fail(__FILE__, __LINE__, "not the shortest: " + text);
    }
}

}  // namespace

TEST_CASE(integers_are_taken_up_to_the_ends_of_their_type) {
    CHECK(reads_integer<std::uint8_t>("255", 255));
    CHECK(refuses_integer<std::uint8_t>("256"));
    CHECK(refuses_integer<std::uint8_t>("-1"));
    CHECK(reads_integer<std::int8_t>("-128", -128));
    CHECK(refuses_integer<std::int8_t>("-129"));
    CHECK(refuses_integer<std::int8_t>("128"));
    CHECK(reads_integer<std::int64_t>("-9223372036854775808", INT64_MIN));
    CHECK(refuses_integer<std::int64_t>("-9223372036854775809"));
    CHECK(reads_integer<std::int64_t>("9223372036854775807", INT64_MAX));
    CHECK(refuses_integer<std::int64_t>("9223372036854775808"));
    CHECK(reads_integer<std::uint64_t>("18446744073709551615", UINT64_MAX));
    CHECK(refuses_integer<std::uint64_t>("18446744073709551616"));
    CHECK(refuses_integer<std::uint64_t>("19999999999999999999"));
    CHECK(refuses_integer<std::uint64_t>("28446744073709551615"));
    CHECK(refuses_integer<std::uint64_t>("118446744073709551615"));
    for (const std::string text : {"", "-", "-0", "01", "+1", "1.0", "1e2", "1E2", "a"}) {
        CHECK(refuses_integer<std::int32_t>(text));
    }
}

TEST_CASE(doubles_are_read_exactly) {
    for (const std::string text : {"0.1",
                                   "0.2",
                                   "0.30000000000000004",
                                   "5e-324",
                                   "1.7976931348623157e308",
                                   "9007199254740993",
                                   "9007199254740992.5",
                                   "9007199254740993.00000000000000000000000001",
                                   "1e22",
                                   "1e23",
                                   "8.5e22",
                                   "123456789012345678e-30",
                                   "2.2250738585072011e-308",
                                   "4503599627370497.5",
                                   "4503599627370496.5",
                                   "18014398509481985",
                                   "18014398509481986",
                                   "18014398509481983e-10",
                                   "7.2057594037927933e16",
                                   "6.631236846766476e-316",
                                   "3.2378839133029012895883e-319",
                                   "179769313486231580793e289",
                                   "0.000000000000000000000012345678901234567",
                                   "12345678901234567890123e-25",
                                   "100000000000000016777215",
                                   "1e-55",
                                   "1e55",
                                   "1e56",
                                   "1e-56"}) {
        check_like_strtod(text);
        check_like_strtod(std::string("-") += text);
    }
    CHECK(std::isnan(read("1e309")));
    CHECK(std::isnan(read("-0")));
    CHECK(std::signbit(read("-0.0")));
}

TEST_CASE(random_decimals_are_read_exactly) {
    std::mt19937_64 random(check::seed());
    for (auto round = check::rounds(300'000); round > 0; --round) {
        const auto digits = 1 + random() % 19;
        std::string text;
        for (std::uint64_t digit = 0; digit < digits; ++digit) {
            text += static_cast<char>('0' + random() % 10);
        }
        text.erase(0, text.find_first_not_of('0'));
        if (text.empty()) continue;
        if (random() % 2 == 0) text.insert(1 + random() % text.size(), 1, '.');
        if (text.back() == '.') text += '5';
        const auto range = random() % 4 == 0 ? 330 : 40;
        if (random() % 2 == 0) {
            text += 'e';
            text += std::to_string(static_cast<int>(random() % (2u * range)) - range);
        }
        check_like_strtod(text);
    }
}

TEST_CASE(halfway_decimals_round_to_even) {
    std::mt19937_64 random(check::seed() + 1);
    for (auto round = check::rounds(50'000); round > 0; --round) {
        // The middle between two neighbours in [2^52, 2^54), and its closest other decimals.
        const auto whole = (std::uint64_t{1} << 52) + random() % (std::uint64_t{1} << 52);
        check_like_strtod(std::to_string(whole) + ".5");
        check_like_strtod(std::to_string(whole) + ".49");
        check_like_strtod(std::to_string(whole) + ".51");
        check_like_strtod(std::to_string(2 * whole + 1));
        check_like_strtod(std::to_string(4 * whole + 2) + "e0");
    }
}

TEST_CASE(doubles_print_in_rapidjsons_form) {
    constexpr std::array<std::pair<double, const char*>, 24> kForms{{
        {0.0, "0.0"},
        {-0.0, "-0.0"},
        {1.0, "1.0"},
        {-1.5, "-1.5"},
        {static_cast<double>(0.1f), "0.10000000149011612"},
        {static_cast<double>(4.1f), "4.099999904632568"},
        {123456789.0, "123456789.0"},
        {1e20, "100000000000000000000.0"},
        {1e21, "1e21"},
        {1.5e21, "1.5e21"},
        {123456789012345680000.0, "123456789012345680000.0"},
        {1e-6, "0.000001"},
        {1.5e-6, "0.0000015"},
        {1e-7, "1e-7"},
        {1.25e-7, "1.25e-7"},
        {9007199254740991.0, "9007199254740991.0"},
        {9007199254740992.0, "9007199254740992.0"},
        {0.3, "0.3"},
        {100.25, "100.25"},
        {5e-324, "5e-324"},
        {1.7976931348623157e308, "1.7976931348623157e308"},
        {-2.2250738585072014e-308, "-2.2250738585072014e-308"},
        {1e100, "1e100"},
        {-0.000012345678901234567, "-0.000012345678901234568"},
    }};
    for (const auto& [value, text] : kForms) CHECK_EQUAL(print(value), text);
}

TEST_CASE(random_doubles_print_shortest_and_read_back) {
    std::mt19937_64 random(check::seed() + 2);
    for (auto round = check::rounds(30'000); round > 0; --round) {
        const auto value = std::bit_cast<double>(random());
        if (std::isfinite(value)) check_printing(value);
        const auto single = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
        if (std::isfinite(single)) check_printing(static_cast<double>(single));
        check_printing(static_cast<double>(static_cast<std::int64_t>(random() % 2'000'000'000)) /
                       1000);
    }
}

TEST_CASE(shortest_decimals_are_the_closest_ones) {
    std::mt19937_64 random(check::seed() + 3);
    const auto check_decimal = [](double value) {
        auto [digits, power] = shortest_decimal(value);
        for (; digits % 10 == 0; digits /= 10) ++power;
        char text[64];
        const auto end =
            std::to_chars(text, text + sizeof text, value, std::chars_format::scientific).ptr;
        std::string wanted(text, end);
        const auto mark = wanted.find('e');
        const auto wanted_power =
            std::stoi(wanted.substr(mark + 1)) - (mark > 1 ? static_cast<int>(mark) - 2 : 0);
        wanted = wanted.substr(0, mark);
        if (wanted.size() > 1) wanted.erase(1, 1);
        if (std::to_string(digits) != wanted || power != wanted_power) {
            check::fail(__FILE__, __LINE__, "not the closest: " + std::string(text, end));
        }
    };
    for (auto round = check::rounds(100'000); round > 0; --round) {
        const auto any = std::bit_cast<double>(random() >> 1);
        if (std::isfinite(any) && any > 0) check_decimal(any);
        const auto single = std::bit_cast<float>(static_cast<std::uint32_t>(random() >> 33));
        if (std::isfinite(single) && single > 0) check_decimal(static_cast<double>(single));
        check_decimal(static_cast<double>(1 + random() % 1'000'000) / 1000);
    }
    for (int exponent = -1074; exponent < 1024; ++exponent) {
        check_decimal(std::ldexp(1.0, exponent));
        check_decimal(std::nextafter(std::ldexp(1.0, exponent), 0) + 0x1p-1074);
    }
}

TEST_CASE(integers_print_as_they_are) {
    const auto text_of = [](auto value) {
        char text[kMaxIntegerChars];
        return std::string(text, write_integer(text, value));
    };
    std::uint64_t power = 1;
    for (int digits = 0; digits < 20; ++digits, power *= 10) {
        for (const auto value : {power - 1, power, power + 1}) {
            CHECK_EQUAL(text_of(value), std::to_string(value));
            const auto negative = -static_cast<std::int64_t>(value / 2);
            CHECK_EQUAL(text_of(negative), std::to_string(negative));
        }
    }
    CHECK_EQUAL(text_of(UINT64_MAX), "18446744073709551615");
    CHECK_EQUAL(text_of(INT64_MIN), "-9223372036854775808");
}

int main() { return check::run_all(); }
