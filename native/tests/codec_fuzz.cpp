// Drives the fuzz targets with the corpus and with random mutations of it, from a printed seed.
#include <random>
#include <string>
#include <vector>

#include "check.hpp"
#include "fuzz_targets.hpp"

using namespace mpserve;

namespace {

using Target = void (*)(const std::uint8_t*, std::size_t);

void run(Target target, const std::string& bytes) {
    // A copy of just this size, so that the address sanitizer sees a read past the end.
    const std::vector<std::uint8_t> exact(bytes.begin(), bytes.end());
    target(exact.data(), exact.size());
}

std::string mutate(std::string bytes, const std::vector<std::string>& seeds,
                   const std::vector<std::string>& words, std::mt19937_64& random) {
    const auto place = [&random](const std::string& text) {
        return static_cast<std::size_t>(random() % (text.size() + 1));
    };
    for (auto count = 1 + random() % 4; count > 0; --count) {
        switch (random() % 7) {
            case 0:
                if (!bytes.empty()) bytes[random() % bytes.size()] = static_cast<char>(random());
                break;
            case 1: bytes.erase(place(bytes), 1 + random() % 8); break;
            case 2:
                bytes.insert(place(bytes), 1 + random() % 3, static_cast<char>(random()));
                break;
            case 3: bytes.insert(place(bytes), words[random() % words.size()]); break;
            case 4: bytes.resize(place(bytes)); break;
            case 5: {  // a piece of itself again
                const auto from = place(bytes);
                bytes.insert(place(bytes), bytes.substr(from, random() % 64));
                break;
            }
            default: {  // the end of another
                const auto& other = seeds[random() % seeds.size()];
                bytes = bytes.substr(0, place(bytes)) + other.substr(place(other));
                break;
            }
        }
    }
    if (bytes.size() > 4096) bytes.resize(4096);
    return bytes;
}

void drive(Target target, const std::vector<std::string>& seeds,
           const std::vector<std::string>& words, std::uint64_t salt) {
    std::mt19937_64 random(check::seed() + salt);
    for (const auto& seed : seeds) run(target, seed);
    for (auto round = check::rounds(30'000); round > 0; --round) {
        run(target, mutate(seeds[random() % seeds.size()], seeds, words, random));
    }
}

}  // namespace

TEST_CASE(heads_keep_their_guarantees) {
    drive(fuzz::fuzz_head,
          {"GET /v2/health/live HTTP/1.1\r\nHost: localhost:8000\r\n\r\n",
           "\r\nPOST http://h/v2/models/m/infer?a HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n"
           "Inference-Header-Content-Length: 5\r\nContent-Type: application/json\r\n\r\n{}",
           "POST / HTTP/1.0\r\nConnection: keep-alive, close\r\nExpect: 100-continue\r\n\r\n",
           "POST / HTTP/1.1\r\nhost: [::1]\r\nTransfer-Encoding: chunked\r\nAccept-Encoding: "
           "gzip\r\n\r\n"},
          {"\r\n", "\n", "\r", ":", " ", "\t", "HTTP/1.1", "HTTP/1.0", "Host: b\r\n",
           "Content-Length: 1\r\n", "Transfer-Encoding: chunked\r\n", "Connection: close\r\n",
           "\r\n\r\n", "9223372036854775808", "http://"},
          1);
}

TEST_CASE(chunked_bodies_keep_their_guarantees) {
    drive(fuzz::fuzz_chunked,
          {"5\r\nhello\r\n00A\r\n 234567890\r\n0\r\nA: b\r\n\r\nNEXT", "0\r\n\r\n",
           "1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\nTrailer:\r\n\r\n", "ff\r\n"},
          {"\r\n", "0\r\n\r\n", "1\r\na\r\n", "ffffffffffffffff", "0", ";", ":", "\n", "\r",
           "A: b\r\n"},
          2);
}

TEST_CASE(decoded_requests_keep_their_guarantees) {
    std::vector<std::string> seeds;
    for (const auto& line : check::corpus_lines("infer_requests.txt")) {
        seeds.push_back(std::string(3, '\0') + line.substr(line.find(' ') + 1));
    }
    const std::string binary =
        R"({"inputs":[{"name":"A","shape":[3],"datatype":"UINT8","parameters":{"binary_data_size":3}},)"
        R"({"name":"B","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}]})";
    for (int options = 0; options < 256; options += 5) {
        seeds.push_back(
            std::string{static_cast<char>(options), static_cast<char>(binary.size()), '\0'} +
            binary + "abc01234567");
    }
    drive(fuzz::fuzz_decode, seeds,
          {"[",
           "]",
           "{",
           "}",
           ",",
           ":",
           "\"",
           "\\",
           "\\u00e4",
           "\\ud83d\\ude00",
           "\xc3\xa4",
           "true",
           "null",
           "1e5",
           "-0",
           "-1",
           "0.1",
           "1234567890123456789012",
           R"("data":[1])",
           R"("shape":[1])",
           R"("datatype":"BYTES")",
           R"("datatype":"FP64")",
           R"("parameters":{"binary_data_size":3})",
           R"("name":"A")",
           R"("id":"x",)",
           R"({"name":"A"})"},
          3);
}

int main() { return check::run_all(); }
