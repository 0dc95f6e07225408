#include "mpserve/http_head.hpp"

#include <deque>
#include <string>

#include "check.hpp"

using namespace mpserve;

namespace {

constexpr HeadLimits kLimits{};

// Parses a copy of the text that stays until the end, because the head's texts are views of it.
HeadResult parse(std::string_view text, HttpHead& head, const HeadLimits& limits = kLimits) {
    static std::deque<std::string> kept;
    head.reset();
    return parse_head(kept.emplace_back(text), head, limits);
}

// Status that a request is refused with; 0: it is taken.
int refusal(std::string_view text, const HeadLimits& limits = kLimits) {
    HttpHead head;
    const auto result = parse(text, head, limits);
    CHECK(result.status != HeadStatus::incomplete);
    return result.http_status;
}

int refusal_of_field(const std::string& field) {
    return refusal("POST / HTTP/1.1\r\nHost: a\r\n" + field + "\r\n\r\n");
}

constexpr std::string_view kInfer =
    "POST /v2/models/simple/infer?x=1 HTTP/1.1\r\n"
    "Host: localhost:8000\r\n"
    "Content-Length: 123\r\n"
    "content-type:\tapplication/json \r\n"
    "Inference-Header-Content-Length: 77\r\n"
    "Accept-Encoding: gzip, deflate\r\n"
    "X-Empty:\r\n"
    "\r\n";

}  // namespace

TEST_CASE(an_inference_request_is_read_field_by_field) {
    HttpHead head;
    const auto result = parse(std::string(kInfer) + "BODY", head);
    CHECK_EQUAL(result.status, HeadStatus::complete);
    CHECK_EQUAL(result.head_bytes, kInfer.size());
    CHECK_EQUAL(head.method, HttpMethod::post);
    CHECK_EQUAL(head.method_text, "POST");
    CHECK_EQUAL(head.target, "/v2/models/simple/infer?x=1");
    CHECK_EQUAL(head.path, "/v2/models/simple/infer");
    CHECK_EQUAL(head.minor_version, 1);
    CHECK(head.keep_alive && head.has_content_length && !head.chunked && !head.expect_continue);
    CHECK_EQUAL(head.content_length, 123u);
    CHECK_EQUAL(head.content_type, "application/json");
    CHECK_EQUAL(head.header_length_state, HeaderLength::valid);
    CHECK_EQUAL(head.header_length, 77u);
    CHECK_EQUAL(head.header_length_text, "77");
    CHECK_EQUAL(head.accept_encoding, "gzip, deflate");
    CHECK(head.content_encoding.empty() && !head.repeated_singleton);
    CHECK_EQUAL(head.field_count(), 6u);
    CHECK_EQUAL(head.field_name(2), "content-type");
    CHECK_EQUAL(head.field_value(5), "");
    CHECK_EQUAL(head.find("host"), "localhost:8000");
    CHECK(head.find("x-empty").data() != nullptr);
    CHECK(head.find("x-other").data() == nullptr);
}

TEST_CASE(a_head_may_arrive_byte_by_byte_in_a_buffer_that_moves) {
    HttpHead head;
    for (std::size_t bytes = 0; bytes < kInfer.size(); ++bytes) {
        const std::string moved(kInfer.substr(0, bytes));
        CHECK_EQUAL(parse_head(moved, head, kLimits).status, HeadStatus::incomplete);
    }
    const std::string whole(kInfer);
    CHECK_EQUAL(parse_head(whole, head, kLimits).head_bytes, kInfer.size());
    CHECK_EQUAL(head.content_type, "application/json");
    CHECK_EQUAL(head.field_value(0), "localhost:8000");
    CHECK(head.target.data() >= whole.data() && head.target.data() < whole.data() + whole.size());
}

TEST_CASE(reset_forgets_the_request_before) {
    HttpHead head;
    parse(
        "POST / HTTP/1.0\r\nContent-Length: 5\r\nConnection: close\r\nContent-Encoding: gzip\r\n"
        "Inference-Header-Content-Length: x\r\n\r\n",
        head);
    parse("GET /b HTTP/1.1\r\nHost: a\r\n\r\n", head);
    CHECK_EQUAL(head.method, HttpMethod::get);
    CHECK_EQUAL(head.path, "/b");
    CHECK(head.keep_alive && !head.has_content_length && head.content_encoding.empty());
    CHECK_EQUAL(head.header_length_state, HeaderLength::absent);
    CHECK_EQUAL(head.field_count(), 1u);
}

TEST_CASE(more_fields_than_lie_inline_are_kept_in_order) {
    std::string text = "GET / HTTP/1.1\r\nHost: a\r\n";
    for (int index = 0; index < 90; ++index) {
        text += "X-" + std::to_string(index) + ": " + std::to_string(index * index) + "\r\n";
    }
    HttpHead head;
    CHECK_EQUAL(parse(text + "\r\n", head).status, HeadStatus::complete);
    CHECK_EQUAL(head.field_count(), 91u);
    CHECK_EQUAL(head.field_value(90), "7921");
    CHECK_EQUAL(head.find("x-31"), "961");
}

TEST_CASE(request_lines_that_are_not_exact_are_refused) {
    for (const std::string line : {"GET  / HTTP/1.1",
                                   "GET / HTTP/1.1 ",
                                   " GET / HTTP/1.1",
                                   "GET /",
                                   "GET",
                                   "GET / HTTP/1.",
                                   "GET / http/1.1",
                                   "GET / HTTP/11",
                                   "GET / HTTP/a.1",
                                   "GET\t/ HTTP/1.1",
                                   "G@T / HTTP/1.1",
                                   "GET  HTTP/1.1",
                                   "GET /a b HTTP/1.1",
                                   "GET /\x01 HTTP/1.1",
                                   "GET /\xc3\xa4 HTTP/1.1",
                                   "GET /#f HTTP/1.1",
                                   "GET v2 HTTP/1.1",
                                   "GET * HTTP/1.1",
                                   "POST * HTTP/1.1",
                                   "GET ftp://a/ HTTP/1.1",
                                   "GET http:///x HTTP/1.1",
                                   "GET http://u@h/ HTTP/1.1",
                                   "GET http:/a/ HTTP/1.1",
                                   "AVERYLONGMETHODNAMEOFMORETHAN32BYTES / HTTP/1.1"}) {
        if (refusal(line + "\r\nHost: a\r\n\r\n") != 400) {
            check::fail(__FILE__, __LINE__, "taken: " + line);
        }
    }
    CHECK_EQUAL(refusal("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 505);
    CHECK_EQUAL(refusal("PRI * HTTP/2.0\r\n\r\n"), 505);
    CHECK_EQUAL(refusal("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n"), 501);
    CHECK_EQUAL(refusal("\x16\x03\x01"), 400);  // a TLS hello, at its first byte
}

TEST_CASE(targets_come_in_three_forms) {
    HttpHead head;
    CHECK_EQUAL(parse("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", head).status, HeadStatus::complete);
    CHECK_EQUAL(head.path, "*");
    parse("GET http://h:80/v2/x?q=1 HTTP/1.1\r\nHost: a\r\n\r\n", head);
    CHECK_EQUAL(head.target, "/v2/x?q=1");
    CHECK_EQUAL(head.path, "/v2/x");
    CHECK_EQUAL(head.raw_target, "http://h:80/v2/x?q=1");
    parse("GET HTTPS://[::1]:80 HTTP/1.1\r\nHost: a\r\n\r\n", head);
    CHECK_EQUAL(head.target, "/");
    parse("GET http://h?q HTTP/1.1\r\nHost: a\r\n\r\n", head);
    CHECK_EQUAL(head.path, "/");
}

TEST_CASE(lines_end_in_crlf_and_nothing_else) {
    CHECK_EQUAL(refusal("GET / HTTP/1.1\nHost: a\n\n"), 400);
    CHECK_EQUAL(refusal("GET / HTTP/1.1\r\nHost: a\n\r\n"), 400);
    CHECK_EQUAL(refusal("GET / HTTP/1.1\r\nHost: a\r\n\n"), 400);
    CHECK_EQUAL(refusal("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    CHECK_EQUAL(refusal_of_field("A: b\rc"), 400);
    CHECK_EQUAL(refusal_of_field("A: b\r"), 400);
}

TEST_CASE(empty_lines_before_a_request_are_skipped_up_to_a_limit) {
    CHECK_EQUAL(refusal("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 0);
    std::string many;
    for (int index = 0; index < 9; ++index) many += "\r\n";
    CHECK_EQUAL(refusal(many + "GET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
}

TEST_CASE(fields_that_are_not_exact_are_refused) {
    for (const std::string field :
         {"Name : v", " Name: v", "\tName: v", "Na me: v", ": v", "Name", "N\xc3\xa4me: v",
          "Name: a\x01", "Name: a\x7f", "A: b\r\n folded", "A: b\r\n\tfolded", "Na(me: v"}) {
        if (refusal_of_field(field) != 400) check::fail(__FILE__, __LINE__, "taken: " + field);
    }
    CHECK_EQUAL(refusal_of_field(std::string("A: a\0b", 6)), 400);
    CHECK_EQUAL(refusal_of_field("Name:v"), 0);
    CHECK_EQUAL(refusal_of_field("Name: \t v w \t"), 0);
    CHECK_EQUAL(refusal_of_field("Name: caf\xc3\xa9"), 0);  // obs-text
}

TEST_CASE(a_host_is_needed_once_in_1_1) {
    CHECK_EQUAL(refusal("GET / HTTP/1.1\r\n\r\n"), 400);
    CHECK_EQUAL(refusal("GET / HTTP/1.0\r\n\r\n"), 0);
    CHECK_EQUAL(refusal("GET / HTTP/1.1\r\nHost:\r\n\r\n"), 0);
    CHECK_EQUAL(refusal_of_field("host: a"), 400);
    CHECK_EQUAL(refusal("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"), 400);
    CHECK_EQUAL(refusal("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), 400);
    CHECK_EQUAL(refusal("GET / HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n"), 0);
}

TEST_CASE(framing_is_told_in_one_way_only) {
    CHECK_EQUAL(refusal_of_field("Content-Length: 5\r\nTransfer-Encoding: chunked"), 400);
    CHECK_EQUAL(refusal_of_field("Transfer-Encoding: chunked\r\nContent-Length: 5"), 400);
    CHECK_EQUAL(refusal_of_field("Content-Length: 5\r\nContent-Length: 6"), 400);
    CHECK_EQUAL(refusal_of_field("Content-Length: 5\r\nContent-Length: 5"), 0);
    for (const std::string value : {"", "+5", "-5", "5 5", "0x5", "5,5", "5.0", "five", "\xb9"}) {
        CHECK_EQUAL(refusal_of_field("Content-Length: " + value), 400);
    }
    CHECK_EQUAL(refusal_of_field("Content-Length: 9223372036854775807"), 0);
    CHECK_EQUAL(refusal_of_field("Content-Length: 9223372036854775808"), 413);
    CHECK_EQUAL(refusal_of_field("Content-Length: 99999999999999999999999999"), 413);
    CHECK_EQUAL(refusal_of_field("Transfer-Encoding: gzip"), 501);
    CHECK_EQUAL(refusal_of_field("Transfer-Encoding: gzip, chunked"), 501);
    CHECK_EQUAL(refusal_of_field("Transfer-Encoding: identity"), 501);
    CHECK_EQUAL(refusal_of_field("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), 400);
    CHECK_EQUAL(refusal("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
    HttpHead head;
    parse("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n", head);
    CHECK(head.chunked && !head.has_content_length);
}

TEST_CASE(connections_stay_open_as_the_version_and_the_options_say) {
    const auto keeps = [](const std::string& version, const std::string& fields) {
        HttpHead head;
        parse("GET / HTTP/" + version + "\r\nHost: a\r\n" + fields + "\r\n", head);
        return head.keep_alive;
    };
    CHECK(keeps("1.1", ""));
    CHECK(keeps("1.9", ""));
    CHECK(!keeps("1.0", ""));
    CHECK(!keeps("1.1", "Connection: close\r\n"));
    CHECK(!keeps("1.1", "Connection: foo , CLOSE,,\r\n"));
    CHECK(!keeps("1.1", "Connection: keep-alive\r\nConnection: close\r\n"));
    CHECK(keeps("1.0", "Connection: Keep-Alive\r\n"));
    CHECK(keeps("1.1", "Connection: closed\r\n"));
}

TEST_CASE(expectations_other_than_100_continue_fail) {
    HttpHead head;
    parse("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\n\r\n", head);
    CHECK(head.expect_continue);
    parse("POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", head);
    CHECK(!head.expect_continue);
    CHECK_EQUAL(refusal_of_field("Expect: 200-ok"), 417);
}

TEST_CASE(a_header_length_that_is_no_number_is_told_apart_from_none) {
    HttpHead head;
    for (const std::string value : {"", "-1", "+1", "1 2", "abc", "99999999999999999999"}) {
        parse(
            "POST / HTTP/1.1\r\nHost: a\r\nInference-Header-Content-Length: " + value + "\r\n\r\n",
            head);
        CHECK_EQUAL(head.header_length_state, HeaderLength::invalid);
        CHECK_EQUAL(head.header_length_text, value);
    }
    parse("POST / HTTP/1.1\r\nHost: a\r\nContent-Type: a\r\nContent-Type: b\r\n\r\n", head);
    CHECK(head.repeated_singleton);
    CHECK_EQUAL(head.content_type, "a");
}

TEST_CASE(heads_that_are_too_large_are_refused_before_they_are_complete) {
    constexpr HeadLimits small{.max_head_bytes = 100, .max_fields = 3};
    CHECK_EQUAL(refusal("GET /" + std::string(200, 'a'), small), 414);
    CHECK_EQUAL(refusal("GET / HTTP/1.1\r\nA: " + std::string(200, 'a'), small), 431);
    CHECK_EQUAL(refusal("GET / HTTP/1.1\r\nA: " + std::string(200, 'a') + "\r\n\r\n", small), 431);
    CHECK_EQUAL(refusal("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nA: b\r\nA: b\r\n\r\n", small), 431);
    CHECK_EQUAL(
        refusal("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nA: b\r\n\r\n" + std::string(500, 'x'), small),
        0);
}

int main() { return check::run_all(); }
