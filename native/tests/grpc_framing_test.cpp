#include "mpserve/grpc_framing.hpp"

#include <string>
#include <vector>

#include "check.hpp"

using namespace mpserve;

namespace {

constexpr std::uint64_t kLimit = 1000;

std::string framed(std::string_view message, char flag = 0) {
    const auto bytes = message.size();
    std::string text{flag, static_cast<char>(bytes >> 24), static_cast<char>(bytes >> 16),
                     static_cast<char>(bytes >> 8), static_cast<char>(bytes)};
    return text.append(message);
}

struct Read {
    std::vector<std::string> messages;
    std::vector<bool> compressed;
    GrpcFrameEvent fault = GrpcFrameEvent::need_input;
    std::uint32_t fault_bytes = 0;
    bool in_message = false;
};

Read read(std::string_view text, std::size_t piece = SIZE_MAX, bool in_place = false) {
    GrpcMessageReader reader;
    reader.reset(kLimit);
    Read result;
    std::vector<std::byte> place(kLimit);
    while (!text.empty() && result.fault == GrpcFrameEvent::need_input) {
        auto input = text.substr(0, piece);
        text.remove_prefix(input.size());
        const std::string moved(input);  // pieces do not lie next to each other
        std::string_view rest(moved);
        for (bool more = true; more;) {
            const auto step = reader.next(rest);
            switch (step.event) {
                case GrpcFrameEvent::need_input: more = false; break;
                case GrpcFrameEvent::body_starts:
                    if (in_place) reader.gather_into(place.data());
                    break;
                case GrpcFrameEvent::message:
                    result.messages.emplace_back(step.body);
                    result.compressed.push_back(step.compressed);
                    break;
                default:
                    result.fault = step.event;
                    result.fault_bytes = step.bytes;
                    more = false;
            }
        }
    }
    result.in_message = reader.in_message();
    return result;
}

}  // namespace

TEST_CASE(messages_are_split_wherever_the_input_is_cut) {
    const auto text = framed("hello") + framed("") + framed(std::string(300, 'x'), 1) + framed("a");
    for (std::size_t piece = 1; piece <= text.size(); ++piece) {
        for (const bool in_place : {false, true}) {
            const auto result = read(text, piece, in_place);
            CHECK_EQUAL(result.messages.size(), 4u);
            if (result.messages.size() != 4) return;
            CHECK_EQUAL(result.messages[0], "hello");
            CHECK_EQUAL(result.messages[1], "");
            CHECK_EQUAL(result.messages[2], std::string(300, 'x'));
            CHECK_EQUAL(result.messages[3], "a");
            CHECK(!result.compressed[1] && result.compressed[2] && !result.compressed[3]);
            CHECK(!result.in_message);
        }
    }
}

TEST_CASE(a_message_within_one_piece_is_not_copied) {
    const auto text = framed("hello");
    GrpcMessageReader reader;
    reader.reset(kLimit);
    std::string_view input(text);
    const auto step = reader.next(input);
    CHECK(step.body.data() == text.data() + kGrpcPrefixBytes);
    CHECK(!reader.was_gathered());
}

TEST_CASE(gathered_memory_can_be_taken_over) {
    const auto text = framed("hello");
    GrpcMessageReader reader;
    reader.reset(kLimit);
    std::string_view first = std::string_view(text).substr(0, 7);
    std::string_view rest = std::string_view(text).substr(7);
    CHECK(reader.next(first).event == GrpcFrameEvent::body_starts);
    CHECK(reader.next(first).event == GrpcFrameEvent::need_input);
    CHECK(reader.next(rest).event == GrpcFrameEvent::message);
    CHECK(reader.was_gathered());
    const auto own = reader.take_gathered();
    CHECK_EQUAL(own.view(), "hello");
    CHECK(!reader.in_message());
}

TEST_CASE(a_message_past_the_limit_is_refused_by_its_prefix) {
    const auto result = read(framed(std::string(kLimit, 'x')) + std::string("\0\0\0\x03\xe9", 5));
    CHECK_EQUAL(result.messages.size(), 1u);
    CHECK(result.fault == GrpcFrameEvent::too_large);
    CHECK_EQUAL(result.fault_bytes, 1001u);
}

TEST_CASE(an_unknown_flag_is_refused) {
    CHECK(read(framed("x", 2)).fault == GrpcFrameEvent::bad_flag);
    CHECK(read(framed("x", '\xff')).fault == GrpcFrameEvent::bad_flag);
}

TEST_CASE(an_end_within_a_message_is_seen) {
    CHECK(read(framed("hello").substr(0, 3)).in_message);
    CHECK(read(framed("hello").substr(0, 8)).in_message);
    CHECK(!read(framed("hello")).in_message);
}

int main() { return check::run_all(); }
