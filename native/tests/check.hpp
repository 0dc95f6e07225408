// The few macros that the core's tests need.
//
//     TEST_CASE(a_chunk_may_be_cut_anywhere) { CHECK_EQUAL(decode("0\r\n\r\n"), ""); }
//     int main() { return mpserve::check::run_all(); }
//
// A failed check is printed with both values and counted; the test goes on. Random tests take their
// seed from `seed()`, which is printed and can be given as MPSERVE_TEST_SEED.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace mpserve::check {

struct TestCase {
    const char* name;
    void (*run)();
};

inline std::vector<TestCase>& test_cases() {
    static std::vector<TestCase> cases;
    return cases;
}

inline int& failures() {
    static int count = 0;
    return count;
}

struct Registration {
    Registration(const char* name, void (*run)()) { test_cases().push_back({name, run}); }
};

inline void fail(const char* file, int line, const std::string& what) {
    ++failures();
    std::fprintf(stderr, "%s:%d: %s\n", file, line, what.c_str());
}

template <typename Value>
std::string show(const Value& value) {
    std::ostringstream text;
    if constexpr (std::is_enum_v<Value>) {
        text << static_cast<long long>(value);
    } else if constexpr (std::is_same_v<Value, std::uint8_t> ||
                         std::is_same_v<Value, std::int8_t>) {
        text << static_cast<int>(value);
    } else {
        text << value;
    }
    return text.str();
}

template <typename Got, typename Wanted>
void check_equal(const Got& got, const Wanted& wanted, const char* what, const char* file,
                 int line) {
    if (got == wanted) return;
    fail(file, line,
         std::string(what) + "\n    got    " + show(got) + "\n    wanted " + show(wanted));
}

// Of this run: from the environment, else from the clock.
inline std::uint64_t seed() {
    static const std::uint64_t value = [] {
        const char* given = std::getenv("MPSERVE_TEST_SEED");
        const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
        const auto chosen = given != nullptr ? std::strtoull(given, nullptr, 10)
                                             : static_cast<unsigned long long>(now);
        std::printf("MPSERVE_TEST_SEED=%llu\n", chosen);
        return static_cast<std::uint64_t>(chosen);
    }();
    return value;
}

// Rounds of a random test: MPSERVE_TEST_ROUNDS for a soak, else the given count.
inline std::uint64_t rounds(std::uint64_t usual) {
    const char* given = std::getenv("MPSERVE_TEST_ROUNDS");
    return given != nullptr ? std::strtoull(given, nullptr, 10) : usual;
}

inline std::filesystem::path corpus(std::string_view name) {
    return std::filesystem::path(__FILE__).parent_path() / "corpus" / name;
}

inline std::string read_file(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) fail(__FILE__, __LINE__, "cannot read " + path.string());
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// The lines of a corpus file that are neither empty nor comments (`#`).
inline std::vector<std::string> corpus_lines(std::string_view name) {
    std::istringstream text(read_file(corpus(name)));
    std::vector<std::string> lines;
    for (std::string line; std::getline(text, line);) {
        if (!line.empty() && line.front() != '#') lines.push_back(line);
    }
    return lines;
}

inline int run_all() {
    for (const auto& test : test_cases()) {
        const int before = failures();
        test.run();
        std::printf("%s %s\n", failures() == before ? "ok    " : "FAILED", test.name);
    }
    std::printf("%zu tests, %d failed checks\n", test_cases().size(), failures());
    return failures() == 0 ? 0 : 1;
}

}  // namespace mpserve::check

#define TEST_CASE(name)                                                     \
    static void name();                                                     \
    static const mpserve::check::Registration register_##name{#name, name}; \
    static void name()

#define CHECK(condition) \
    ((condition) ? void() : mpserve::check::fail(__FILE__, __LINE__, "is false: " #condition))

#define CHECK_EQUAL(got, wanted) \
    mpserve::check::check_equal((got), (wanted), #got, __FILE__, __LINE__)
