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

// Small changes are the rule, so that much of what comes out is still almost right.
std::string mutate(std::string bytes, const std::vector<std::string>& seeds,
                   const std::vector<std::string>& words, std::mt19937_64& random) {
    const auto place = [&random](const std::string& text) {
        return static_cast<std::size_t>(random() % (text.size() + 1));
    };
    const auto word = [&random, &words] { return words[random() % words.size()]; };
    for (auto count = 1 + (random() % 4 == 0 ? random() % 4 : 0); count > 0; --count) {
        const auto at = place(bytes);
        switch (random() % 16) {
            case 0:
                if (at < bytes.size()) bytes[at] = static_cast<char>(random());
                break;
            case 1: bytes.erase(at, 1 + random() % 8); break;
            case 2: bytes.insert(at, 1 + random() % 3, static_cast<char>(random())); break;
            case 3: bytes.resize(at); break;
            case 4: {  // a piece of itself again
                const auto piece = bytes.substr(at, random() % 64);
                bytes.insert(place(bytes), piece);
                break;
            }
            case 5: {  // the end of another
                const auto& other = seeds[random() % seeds.size()];
                bytes = bytes.substr(0, at) + other.substr(place(other));
                break;
            }
            case 6:
            case 7: bytes.insert(at, word()); break;
            case 8:
            case 9:
            case 10: {  // one word for another
                const auto found = bytes.find(word(), at);
                if (found != std::string::npos) bytes.replace(found, 1 + random() % 4, word());
                break;
            }
            case 11:
            case 12:  // another digit
                for (auto digit = at; digit < bytes.size(); ++digit) {
                    if (bytes[digit] < '0' || bytes[digit] > '9') continue;
                    bytes[digit] = static_cast<char>('0' + random() % 10);
                    break;
                }
                break;
            case 13:
            case 14: bytes.insert(at, 1, " \n\t\r"[random() % 4]); break;
            default: {  // another letter
                if (at < bytes.size())
                    bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8));
                break;
            }
        }
    }
    if (bytes.size() > 4096) bytes.resize(4096);
    return bytes;
}

// `prefix` bytes of each seed are options of the target and stay as they are.
void drive(Target target, const std::vector<std::string>& seeds,
           const std::vector<std::string>& words, std::uint64_t salt, std::size_t prefix = 0) {
    std::mt19937_64 random(check::seed() + salt);
    for (const auto& seed : seeds) run(target, seed);
    for (auto round = check::rounds(30'000); round > 0; --round) {
        const auto& seed = seeds[random() % seeds.size()];
        run(target, seed.substr(0, prefix) + mutate(seed.substr(prefix), seeds, words, random));
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

TEST_CASE(grpc_messages_keep_their_guarantees) {
    const std::string hello("\0\0\0\0\5hello", 10);
    const std::string empty("\1\0\0\0\0", 5);
    drive(fuzz::fuzz_grpc_messages,
          {hello, hello + empty + hello, std::string("\0\0\0\2\0", 5) + std::string(512, 'x'),
           std::string("\0\x7f\xff\xff\xff", 5)},
          {hello, empty, std::string("\0\0\0\0", 4), "\2", "\xff", std::string("\0\0\0\1\x90", 5)},
          4);
}

TEST_CASE(decoded_requests_keep_their_guarantees) {
    std::vector<std::string> seeds;
    for (const auto& line : check::corpus_lines("infer_requests.txt")) {
        seeds.push_back(std::string(3, '\0') + line.substr(line.find(' ') + 1));
    }
    const std::string texts =
        R"({"id":"r\u00e4","parameters":{"binary_data_output":true,"k":-1.5e2},"inputs":[{"name":"A",)"
        R"("shape":[2,2],"datatype":"BYTES","data":[["a","\u20ac"],["]","\ud83d\ude00"]]},{"name":"B",)"
        R"("shape":[2,2],"datatype":"FP32","data":[1.5,-2e-3,0.1,16777217]}],"outputs":[{"name":"X",)"
        R"("parameters":{"binary_data":true}},{"name":"Y"}]})";
    const std::string binary =
        R"({"inputs":[{"name":"A","shape":[2],"datatype":"UINT8","parameters":{"binary_data_size":2}},)"
        R"({"name":"J","shape":[2],"datatype":"INT64","data":[-1,2]},{"name":"B","shape":[2,2],)"
        R"("datatype":"FP32","parameters":{"binary_data_size":16,"content_type":"np"}},{"name":"S",)"
        R"("shape":[2],"datatype":"BYTES","parameters":{"binary_data_size":9}}]})";
    const std::string blobs("ab0123456789abcdef\1\0\0\0x\0\0\0\0", 27);
    // All options: closed signature, batching, kept parameters, four places in the block.
    for (int options = 0; options < 128; ++options) {
        const auto first = static_cast<char>(options % 8 + options / 8 * 16);
        seeds.push_back(std::string{first, 0, 0} + texts);
        seeds.push_back(std::string{first, static_cast<char>(binary.size() % 256),
                                    static_cast<char>(binary.size() / 256)} +
                        binary + blobs);
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
           R"({"name":"A"})",
           R"("parameters":{"shared_memory_region":"r","shared_memory_byte_size":8})",
           R"("shared_memory_offset":32)",
           R"("shared_memory_region":"s")",
           R"("shared_memory_byte_size":18446744073709551615)"},
          3, 3);
}

namespace {

std::string field(std::uint32_t number, const std::string& content) {
    std::string text(content.size() + 16, '\0');
    text.resize(
        static_cast<std::size_t>(put_delimited(text.data(), number, content) - text.data()));
    return text;
}

std::string piece(std::uint32_t number, const std::string& name, char bytes) {
    return field(number, field(1, "shared_memory_region") + field(2, field(3, name))) +
           field(number,
                 field(1, "shared_memory_byte_size") + field(2, std::string{'\x10', bytes})) +
           field(number, field(1, "shared_memory_offset") + field(2, std::string("\x10\0", 2)));
}

}  // namespace

TEST_CASE(decoded_messages_keep_their_guarantees) {
    const auto shape = field(3, "\2");
    const auto strings = std::string("\1\0\0\0x\0\0\0\0", 9);
    const auto plain = field(1, "m") + field(3, "id") +
                       field(5, field(1, "A") + field(2, "FP32") + shape) +
                       field(5, field(1, "S") + field(2, "BYTES") + shape) +
                       field(6, field(1, "X")) + field(7, "01234567") + field(7, strings);
    const auto regions = field(1, "m") +
                         field(5, field(1, "A") + field(2, "UINT8") + shape + piece(4, "r", 2)) +
                         field(5, field(1, "R") + field(2, "FP32") + field(3, "\1\2")) +
                         field(6, field(1, "X") + piece(2, "s", 40)) + field(7, "01234567");
    std::vector<std::string> seeds;
    for (int options = 0; options < 128; ++options) {
        const auto first = static_cast<char>(options % 8 + options / 8 * 16);
        seeds.push_back(std::string{first} + plain);
        seeds.push_back(std::string{first} + regions);
    }
    drive(fuzz::fuzz_proto, seeds,
          {shape, field(2, "FP64"), field(2, "BYTES"), field(7, "12345678"), field(7, strings),
           piece(4, "r", 8), piece(2, "s", 8), field(6, field(1, "Y")), field(1, "A"), "\x10\x08",
           "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x18\1"},
          5, 1);
}

int main() { return check::run_all(); }
