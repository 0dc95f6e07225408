#include "mpserve/json_tensor.hpp"

#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "check.hpp"
#include "mpserve/json_scanner.hpp"

using namespace mpserve;

namespace {

constexpr int kNesting = 64;

// Reads `[<elements>]` as BYTES; the elements' binary form, or "declined".
std::string read_strings(const std::string& text, std::uint64_t elements) {
    std::vector<std::byte> place(text.size() + 4 * elements);
    std::uint64_t used = 0;
    const char* behind = jump_over_array(text.data(), text.data() + text.size(), kNesting);
    if (behind != text.data() + text.size()) return "declined";
    const auto outcome =
        read_json_strings(text, elements, kNesting, place.data(), place.size(), used);
    if (outcome != DecodeOutcome::accepted) return "declined";
    return {reinterpret_cast<const char*>(place.data()), used};
}

template <typename Element>
DecodeOutcome read(const std::string& text, Datatype datatype, std::vector<Element>& elements) {
    const char* behind = jump_over_array(text.data(), text.data() + text.size(), kNesting);
    if (behind != text.data() + text.size()) return DecodeOutcome::json;
    return read_json_array(text, datatype, elements.size(), kNesting,
                           reinterpret_cast<std::byte*>(elements.data()));
}

DecodeOutcome read_ints(const std::string& text, std::vector<std::int32_t> wanted) {
    std::vector<std::int32_t> got(wanted.size());
    const auto outcome = read(text, Datatype::int32, got);
    if (outcome == DecodeOutcome::accepted) CHECK(got == wanted);
    return outcome;
}

std::string write(const TensorView& tensor, const FloatForm& form = kTritonFloats) {
    ByteBuffer out;
    CHECK_EQUAL(write_json_array(tensor, form, out), TensorTextOutcome::written);
    return std::string(out.view());
}

TensorView tensor_of(Datatype datatype, const void* data, std::uint64_t bytes,
                     std::span<const std::int64_t> shape) {
    return {.name = "x",
            .parameters = {},
            .datatype = datatype,
            .shape = shape,
            .region = 0,
            .data_offset = 0,
            .data_bytes = bytes,
            .data = static_cast<const std::byte*>(data)};
}

// "\xHH" in a corpus line is a raw byte.
std::string with_raw_bytes(const std::string& text) {
    std::string raw;
    for (std::size_t at = 0; at < text.size(); ++at) {
        if (text.compare(at, 2, "\\x") == 0 && at + 4 <= text.size() &&
            std::isxdigit(static_cast<unsigned char>(text[at + 2])) != 0) {
            raw += static_cast<char>(std::stoi(text.substr(at + 2, 2), nullptr, 16));
            at += 3;
        } else {
            raw += text[at];
        }
    }
    return raw;
}

std::string hex_of(std::string_view bytes) {
    std::string hex;
    char two[3];
    for (const char byte : bytes) {
        std::snprintf(two, sizeof two, "%02x", static_cast<unsigned char>(byte));
        hex += two;
    }
    return hex;
}

}  // namespace

TEST_CASE(numbers_of_the_corpus_are_taken_or_not) {
    for (const auto& line : check::corpus_lines("json_numbers.txt")) {
        const auto space = line.find(' ');
        const auto verdict = line.substr(0, space);
        const auto number = space == std::string::npos ? "" : line.substr(space + 1);
        std::vector<double> value(1);
        const bool is_taken =
            read("[" + number + "]", Datatype::fp64, value) == DecodeOutcome::accepted;
        if (is_taken != (verdict == "accept")) check::fail(__FILE__, __LINE__, line);
        if (is_taken) CHECK_EQUAL(value[0], std::strtod(number.c_str(), nullptr));
    }
}

TEST_CASE(strings_of_the_corpus_are_taken_or_not) {
    for (const auto& line : check::corpus_lines("json_strings.txt")) {
        const auto space = line.find(' ');
        const auto tab = line.find('\t');
        const auto text = with_raw_bytes(line.substr(space + 1, tab - space - 1));
        const auto value = read_strings("[" + text + "]", 1);
        if (line.starts_with("accept")) {
            const auto hex = value == "declined" ? value : hex_of(value.substr(4));
            if (hex != line.substr(tab + 1)) check::fail(__FILE__, __LINE__, line + " is " + hex);
        } else if (value != "declined") {
            check::fail(__FILE__, __LINE__, line);
        }
    }
}

TEST_CASE(arrays_may_be_flat_or_evenly_nested) {
    using enum DecodeOutcome;
    CHECK_EQUAL(read_ints("[1,2,3]", {1, 2, 3}), accepted);
    CHECK_EQUAL(read_ints(" [1]", {1}), json);  // the text begins at its bracket
    CHECK_EQUAL(read_ints("[ 1 ,\n\t2\r, 3 ]", {1, 2, 3}), accepted);
    CHECK_EQUAL(read_ints("[[1,2],[3,4]]", {1, 2, 3, 4}), accepted);
    CHECK_EQUAL(read_ints("[ [ [1] , [2] ] , [ [3] ] ]", {1, 2, 3}), accepted);
    CHECK_EQUAL(read_ints("[]", {}), accepted);
    CHECK_EQUAL(read_ints("[ ]", {}), accepted);
    CHECK_EQUAL(read_ints("[[],[]]", {}), accepted);
    CHECK_EQUAL(read_ints("[[],[1],[]]", {1}), accepted);
    CHECK_EQUAL(read_ints("[[[]],[[1]]]", {1}), accepted);
    CHECK_EQUAL(read_ints("[1,[2]]", {1, 2}), element);
    CHECK_EQUAL(read_ints("[[1],2]", {1, 2}), structure);
    CHECK_EQUAL(read_ints("[[1],[[2]]]", {1, 2}), element);
    CHECK_EQUAL(read_ints("[[[1]],[2]]", {1, 2}), structure);
    CHECK_EQUAL(read_ints("[[],1]", {1}), structure);
}

TEST_CASE(arrays_that_are_not_json_are_declined) {
    for (const std::string text :
         {"[1,]", "[,1]", "[1,,2]", "[1 2]", "[1;2]", "[[1],]", "[[1][2]]", "[[1] 2]", "[[1]{}]",
          "[{}]", "[\"]\"]", "[1}", "[\"", "[\"\\", "["}) {
        if (read_ints(text, {1, 2}) == DecodeOutcome::accepted ||
            read_ints(text, {1}) == DecodeOutcome::accepted) {
            check::fail(__FILE__, __LINE__, "taken: " + text);
        }
    }
}

TEST_CASE(the_number_of_elements_must_be_the_shapes) {
    CHECK_EQUAL(read_ints("[1,2]", {1}), DecodeOutcome::count);
    CHECK_EQUAL(read_ints("[1]", {1, 2}), DecodeOutcome::count);
    CHECK_EQUAL(read_ints("[1]", {}), DecodeOutcome::count);
    CHECK_EQUAL(read_ints("[]", {1}), DecodeOutcome::count);
    CHECK_EQUAL(read_strings("[\"a\",\"b\"]", 1), "declined");
    CHECK_EQUAL(read_strings("[\"a\"]", 2), "declined");
}

TEST_CASE(nesting_is_limited_without_recursion) {
    const auto nested = [](std::size_t depth) {
        return std::string(depth, '[') + "1" + std::string(depth, ']');
    };
    CHECK_EQUAL(read_ints(nested(kNesting), {1}), DecodeOutcome::accepted);
    CHECK_EQUAL(read_ints(nested(kNesting + 1), {1}), DecodeOutcome::json);
    CHECK_EQUAL(read_ints(std::string(1'000'000, '['), {1}), DecodeOutcome::json);
    std::int32_t element = 0;
    CHECK_EQUAL(
        read_json_array(nested(5), Datatype::int32, 1, 4, reinterpret_cast<std::byte*>(&element)),
        DecodeOutcome::limit);
}

TEST_CASE(elements_are_of_their_datatype) {
    std::vector<std::uint8_t> bytes(2);
    CHECK_EQUAL(read("[true,false]", Datatype::boolean, bytes), DecodeOutcome::accepted);
    CHECK_EQUAL(bytes[0], 1);
    CHECK_EQUAL(bytes[1], 0);
    for (const std::string text :
         {"[1,0]", "[true,nul]", "[tru,false]", "[\"true\",true]", "[True,true]", "[true,fals]"}) {
        CHECK(read(text, Datatype::boolean, bytes) != DecodeOutcome::accepted);
    }
    CHECK(read("[1,256]", Datatype::uint8, bytes) == DecodeOutcome::element);
    CHECK(read("[1,2.0]", Datatype::uint8, bytes) == DecodeOutcome::element);
    std::vector<float> floats(1);
    CHECK(read("[3.4028235677973366e38]", Datatype::fp32, floats) ==
          DecodeOutcome::element);  // to infinity
    CHECK(read("[3.4028235677973362e38]", Datatype::fp32, floats) == DecodeOutcome::accepted);
    // The float of the double, not of the decimal: rounding twice makes the difference here.
    CHECK(read("[1.00000005960464483]", Datatype::fp32, floats) == DecodeOutcome::accepted);
    CHECK_EQUAL(floats[0], static_cast<float>(1.00000005960464483));
    std::vector<std::uint16_t> halves(1);
    CHECK(read("[1]", Datatype::fp16, halves) == DecodeOutcome::datatype);
    CHECK(read("[1]", Datatype::bf16, halves) == DecodeOutcome::datatype);
}

TEST_CASE(random_tensors_survive_writing_and_reading) {
    std::mt19937_64 random(check::seed());
    constexpr Datatype kTypes[] = {
        Datatype::uint8, Datatype::uint16, Datatype::uint32, Datatype::uint64, Datatype::int8,
        Datatype::int16, Datatype::int32,  Datatype::int64,  Datatype::fp32,   Datatype::fp64};
    for (auto round = check::rounds(2'000); round > 0; --round) {
        const auto datatype = kTypes[random() % std::size(kTypes)];
        const std::int64_t elements = static_cast<std::int64_t>(random() % 600);
        std::vector<std::byte> data(static_cast<std::size_t>(elements) * item_bytes(datatype) + 1);
        for (auto& byte : data) byte = static_cast<std::byte>(random());
        if (datatype == Datatype::fp32 || datatype == Datatype::fp64) {
            // Only finite numbers can be read back.
            const auto item = item_bytes(datatype);
            for (std::size_t at = item - 1; at < data.size(); at += item)
                data[at] &= std::byte{0x3f};
        }
        const auto shape = {elements};
        const auto text = write(tensor_of(datatype, data.data(), data.size() - 1, shape));
        std::vector<std::byte> again(data.size());
        CHECK_EQUAL(read_json_array(text, datatype, static_cast<std::uint64_t>(elements), kNesting,
                                    again.data()),
                    DecodeOutcome::accepted);
        if (std::memcmp(data.data(), again.data(), data.size() - 1) != 0) {
            check::fail(__FILE__, __LINE__, "differs: " + text);
        }
    }
}

TEST_CASE(random_strings_survive_writing_and_reading) {
    std::mt19937_64 random(check::seed() + 1);
    const std::string alphabets[] = {"abc", "a\"\\/\b\f\n\r\t\x01\x1f\x7f",
                                     "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"};
    for (auto round = check::rounds(2'000); round > 0; --round) {
        std::string binary;
        std::int64_t elements = static_cast<std::int64_t>(random() % 9);
        for (std::int64_t index = 0; index < elements; ++index) {
            std::string element;
            for (auto part = random() % 20; part > 0; --part) {
                const auto& alphabet = alphabets[random() % 3];
                const auto chosen = random() % alphabet.size();
                element += alphabet[0] == '\xc3' ? alphabet : alphabet.substr(chosen, 1);
            }
            const auto length = static_cast<std::uint32_t>(element.size());
            binary.append(reinterpret_cast<const char*>(&length), sizeof length).append(element);
        }
        const auto shape = {elements};
        const auto text = write(tensor_of(Datatype::bytes, binary.data(), binary.size(), shape));
        if (read_strings(text, static_cast<std::uint64_t>(elements)) != binary) {
            check::fail(__FILE__, __LINE__, "differs: " + text);
        }
    }
}

TEST_CASE(values_print_as_the_dialect_has_them) {
    const float floats[] = {0.1f, 1.0f, NAN, INFINITY, -INFINITY};
    const auto shape = {std::int64_t{5}};
    const auto tensor = tensor_of(Datatype::fp32, floats, sizeof floats, shape);
    CHECK_EQUAL(write(tensor), "[0.10000000149011612,1.0,NaN,Infinity,-Infinity]");
    CHECK_EQUAL(write(tensor, kMlserverFloats), "[0.10000000149011612,1.0,null,null,null]");
    const std::uint8_t booleans[] = {0, 1, 2, 0, 255};
    CHECK_EQUAL(write(tensor_of(Datatype::boolean, booleans, 5, shape)),
                "[false,true,true,false,true]");
    const std::int8_t bytes[] = {-128, -1, 0, 1, 127};
    CHECK_EQUAL(write(tensor_of(Datatype::int8, bytes, 5, shape)), "[-128,-1,0,1,127]");
    const std::uint16_t halves[] = {0x3c00, 0xc000, 0x0001, 0x7bff, 0x2e66};
    CHECK_EQUAL(write(tensor_of(Datatype::fp16, halves, 10, shape), kMlserverFloats),
                "[1.0,-2.0,5.960464477539063e-8,65504.0,0.0999755859375]");
    ByteBuffer out;
    CHECK_EQUAL(write_json_array(tensor_of(Datatype::fp16, halves, 10, shape), kTritonFloats, out),
                TensorTextOutcome::half_float);
    CHECK_EQUAL(
        write_json_array(tensor_of(Datatype::bf16, halves, 10, shape), kMlserverFloats, out),
        TensorTextOutcome::half_float);
    const std::int64_t none[] = {0};
    CHECK_EQUAL(write(tensor_of(Datatype::fp32, nullptr, 0, none)), "[]");
}

TEST_CASE(bytes_tensors_are_checked_before_they_are_written) {
    const auto outcome = [](std::string_view data, std::int64_t elements) {
        ByteBuffer out;
        const auto shape = {elements};
        return write_json_array(tensor_of(Datatype::bytes, data.data(), data.size(), shape),
                                kTritonFloats, out);
    };
    using enum TensorTextOutcome;
    const std::string one("\x01\0\0\0a", 5);
    CHECK_EQUAL(outcome(one, 1), written);
    CHECK_EQUAL(outcome(one, 2), malformed);
    CHECK_EQUAL(outcome(one, 0), malformed);
    CHECK_EQUAL(outcome(one.substr(0, 4), 1), malformed);
    CHECK_EQUAL(outcome(one.substr(0, 3), 1), malformed);
    CHECK_EQUAL(outcome(one + "a", 1), malformed);
    CHECK_EQUAL(outcome(std::string("\xff\xff\xff\xff") + "a", 1), malformed);
    CHECK_EQUAL(outcome(std::string("\x01\0\0\0\xff", 5), 1), not_utf8);
    CHECK_EQUAL(outcome("", 0), written);
}

int main() { return check::run_all(); }
