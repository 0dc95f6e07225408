#include "mpserve/http_chunked.hpp"

#include <string>

#include "check.hpp"

using namespace mpserve;

namespace {

struct Decoded {
    std::string body;
    ChunkEvent event = ChunkEvent::need_input;
    int http_status = 0;
    std::string rest;
    std::string reason;
};

// Feeds `text` in pieces of at most `piece` bytes.
Decoded decode(std::string_view text, const ChunkLimits& limits = {},
               std::size_t piece = SIZE_MAX) {
    ChunkDecoder decoder;
    decoder.reset(limits);
    Decoded decoded;
    while (decoded.event == ChunkEvent::need_input && !text.empty()) {
        auto input = text.substr(0, piece);
        text.remove_prefix(input.size());
        while (true) {
            const auto step = decoder.next(input);
            decoded.event = step.event;
            if (step.event == ChunkEvent::data) {
                decoded.body += step.data;
                continue;
            }
            decoded.http_status = step.http_status;
            decoded.reason = step.reason;
            break;
        }
        decoded.rest = std::string(input) + std::string(text);
    }
    return decoded;
}

int refusal(std::string_view text, const ChunkLimits& limits = {}) {
    return decode(text, limits).http_status;
}

constexpr std::string_view kBody = "5\r\nhello\r\n00A\r\n 234567890\r\n0\r\nA: b\r\nC:\r\n\r\nNEXT";

}  // namespace

TEST_CASE(a_body_is_the_same_however_it_is_cut) {
    for (std::size_t piece = 1; piece <= kBody.size(); ++piece) {
        const auto decoded = decode(kBody, {}, piece);
        CHECK_EQUAL(decoded.event, ChunkEvent::complete);
        CHECK_EQUAL(decoded.body, "hello 234567890");
        CHECK_EQUAL(decoded.rest, "NEXT");
    }
}

TEST_CASE(what_is_not_exactly_a_chunk_is_refused) {
    for (const std::string text : {"\r\n",
                                   "g\r\n",
                                   "5;ext=1\r\nhello\r\n",
                                   "5 \r\nhello\r\n",
                                   " 5\r\nhello\r\n",
                                   "5\nhello\r\n",
                                   "5\rhello\r\n",
                                   "5\r\nhello\n",
                                   "5\r\nhello!\r\n",
                                   "5\r\nhello\rX",
                                   "-5\r\n",
                                   "+5\r\n",
                                   "0x5\r\n",
                                   "00000000000000001\r\na\r\n",
                                   "0\r\n\n",
                                   "0\r\n\rX",
                                   "0\r\nA\r\n\r\n",
                                   "0\r\n: a\r\n\r\n",
                                   "0\r\nA b: c\r\n\r\n",
                                   "0\r\n A: c\r\n\r\n",
                                   "0\r\nA: c\n\r\n",
                                   "0\r\nA: \x01\r\n\r\n",
                                   "0\r\nA: c\rX"}) {
        if (refusal(text) != 400) check::fail(__FILE__, __LINE__, "taken: " + text);
    }
}

TEST_CASE(bad_stays_bad_and_complete_stays_complete) {
    ChunkDecoder decoder;
    decoder.reset({});
    std::string_view input = "x0\r\n\r\n";
    CHECK_EQUAL(decoder.next(input).event, ChunkEvent::bad);
    CHECK_EQUAL(decoder.next(input).event, ChunkEvent::bad);
    decoder.reset({});
    input = "0\r\n\r\nGET";
    CHECK_EQUAL(decoder.next(input).event, ChunkEvent::complete);
    CHECK_EQUAL(decoder.next(input).event, ChunkEvent::complete);
    CHECK_EQUAL(input, "GET");
}

TEST_CASE(the_body_is_limited_before_it_arrives) {
    CHECK_EQUAL(refusal("a\r\n", {.max_body_bytes = 9}), 413);
    CHECK_EQUAL(refusal("5\r\nhello\r\n5\r\n", {.max_body_bytes = 9}), 413);
    CHECK_EQUAL(refusal("ffffffffffffffff\r\n", {.max_body_bytes = 9}), 413);
    CHECK_EQUAL(refusal("5\r\nhello\r\nffffffffffffffff\r\n"), 413);  // the sum would wrap
    CHECK_EQUAL(refusal("9\r\n", {.max_body_bytes = 9}), 0);
}

TEST_CASE(chunks_are_counted_in_the_peers_words) {
    std::string text;
    for (int index = 0; index < 65536; ++index) text += "1\r\na\r\n";
    CHECK_EQUAL(decode(text + "0\r\n\r\n").event, ChunkEvent::complete);
    const auto decoded = decode(text + "1\r\na\r\n0\r\n\r\n");
    CHECK_EQUAL(decoded.http_status, 400);
    CHECK_EQUAL(decoded.reason,
                "Chunked request body exceeds maximum of 65536 non-empty chunks. Send fewer or "
                "larger HTTP chunks.");
}

TEST_CASE(the_trailer_is_limited) {
    const auto text = "0\r\nA: " + std::string(100, 'x');
    CHECK_EQUAL(refusal(text, {.max_trailer_bytes = 50}), 431);
    CHECK_EQUAL(refusal(text, {.max_trailer_bytes = 500}), 0);
}

int main() { return check::run_all(); }
