// Microbenchmarks of the HTTP splitter and the V2 codec: ns per operation, median of 11 runs.
//
// The request is the one of the prototype that this replaces (16 FP32 as JSON), with short decimals
// and with the 17 digits that Python clients print floats with; then a large array, per number.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "mpserve/http_head.hpp"
#include "mpserve/json_number.hpp"
#include "mpserve/message.hpp"
#include "mpserve/v2_decode.hpp"
#include "mpserve/v2_encode.hpp"

using namespace mpserve;

namespace {

constexpr int kRuns = 11;
constexpr std::uint64_t kSeed = 42;

template <typename Value>
void keep(const Value& value) {
    asm volatile("" : : "r,m"(value) : "memory");
}

template <typename Operation>
void measure(const char* name, std::size_t operations, Operation&& operation, double per = 1) {
    for (std::size_t index = 0; index < operations / 4 + 1; ++index) operation();
    std::vector<double> runs;
    for (int run = 0; run < kRuns; ++run) {
        const auto start = std::chrono::steady_clock::now();
        for (std::size_t index = 0; index < operations; ++index) operation();
        const std::chrono::duration<double, std::nano> spent =
            std::chrono::steady_clock::now() - start;
        runs.push_back(spent.count() / static_cast<double>(operations) / per);
    }
    std::sort(runs.begin(), runs.end());
    std::printf("%-44s %9.1f ns  [%.1f ... %.1f]\n", name, runs[kRuns / 2], runs.front(),
                runs.back());
}

std::string json_numbers(std::size_t count, bool short_decimals) {
    std::mt19937_64 random(kSeed);
    std::string text;
    char number[kMaxDoubleChars];
    for (std::size_t index = 0; index < count; ++index) {
        if (index > 0) text += ',';
        const auto value = short_decimals
                               ? static_cast<double>(random() % 1000) / 10
                               : static_cast<double>(static_cast<float>(random()) * 0x1p-64f);
        text.append(number, static_cast<std::size_t>(write_double(number, value) - number));
    }
    return text;
}

std::string request_of(std::size_t count, bool short_decimals) {
    return R"({"inputs":[{"name":"INPUT0","shape":[1,)" + std::to_string(count) +
           R"(],"datatype":"FP32","data":[)" + json_numbers(count, short_decimals) + "]}]}";
}

struct AlignedBytes {
    explicit AlignedBytes(std::size_t bytes) : size(bytes) {
        if (posix_memalign(&data, 64, bytes) != 0) std::abort();
        std::memset(data, 0, bytes);
    }
    ~AlignedBytes() { std::free(data); }
    AlignedBytes(const AlignedBytes&) = delete;
    AlignedBytes& operator=(const AlignedBytes&) = delete;
    std::byte* bytes() const { return static_cast<std::byte*>(data); }
    void* data = nullptr;
    std::size_t size;
};

Signature signature_of() {
    Signature signature;
    signature.max_batch_size = 8;
    signature.inputs.resize(1);
    signature.inputs[0].name = "INPUT0";
    signature.inputs[0].datatype = Datatype::fp32;
    signature.inputs[0].shape = {-1, -1};
    signature.outputs = signature.inputs;
    signature.outputs[0].name = "OUTPUT0";
    return signature;
}

void bench_head() {
    const std::string small =
        "POST /v2/models/simple/infer HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nContent-Length: 180\r\n"
        "Content-Type: application/json\r\n\r\n";
    const std::string usual =
        "POST /v2/models/simple/versions/1/infer HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n"
        "User-Agent: python-requests/2.32.3\r\nAccept-Encoding: gzip, deflate\r\nAccept: */*\r\n"
        "Connection: keep-alive\r\nContent-Length: 1801\r\nContent-Type: application/json\r\n"
        "Inference-Header-Content-Length: 201\r\nAuthorization: Bearer 0123456789abcdef\r\n\r\n";
    HttpHead head;
    for (const auto& [name, text] :
         {std::pair{"head, 3 fields", &small}, {"head, 9 fields", &usual}}) {
        measure(name, 400'000, [&head, text = text] {
            head.reset();
            keep(parse_head(*text, head, {}).head_bytes);
        });
    }
}

void bench_decode(const char* name, std::size_t count, bool short_decimals, double per) {
    const auto json = request_of(count, short_decimals);
    const auto signature = signature_of();
    static InferDecoder decoder;
    static MessageBuilder builder;
    const AlignedBytes block(decode_bound(json.size()));
    measure(
        name, count > 1000 ? 20 : 300'000,
        [&] {
            if (decoder.plan(json, 0, signature, {}) != DecodeOutcome::accepted) std::abort();
            keep(decoder.block_bytes(false));
            builder.begin(block.bytes(), block.size, block.size, MessageKind::request);
            if (decoder.fill(builder, {}) != DecodeOutcome::accepted) std::abort();
        },
        per);
}

void bench_encode(const char* name, std::size_t count, bool short_decimals, double per) {
    const auto json = request_of(count, short_decimals);
    const AlignedBytes block(decode_bound(json.size()));
    InferDecoder decoder;
    MessageBuilder builder;
    if (decoder.plan(json, 0, signature_of(), {}) != DecodeOutcome::accepted) std::abort();
    builder.begin(block.bytes(), block.size, block.size, MessageKind::response);
    if (decoder.fill(builder, {}) != DecodeOutcome::accepted) std::abort();
    const auto view = *MessageView::open(block.bytes(), block.size);
    EncodeContext context;
    context.model_name = "simple";
    context.model_version = "1";
    ByteBuffer out;
    std::vector<ResponseSegment> segments;
    measure(
        name, count > 1000 ? 20 : 200'000,
        [&] {
            out.clear();
            segments.clear();
            if (encode_infer_response(view, context, out, segments).outcome !=
                EncodeOutcome::encoded) {
                std::abort();
            }
            keep(out.data());
        },
        per);
}

}  // namespace

int main() {
    bench_head();
    bench_decode("decode 16 FP32, short decimals", 16, true, 1);
    bench_decode("decode 16 FP32, 17 digits", 16, false, 1);
    bench_decode("decode 100000 FP32, short: per number", 100'000, true, 100'000);
    bench_decode("decode 100000 FP32, 17 digits: per number", 100'000, false, 100'000);
    bench_encode("encode 16 FP32, short decimals", 16, true, 1);
    bench_encode("encode 16 FP32, 17 digits", 16, false, 1);
    bench_encode("encode 100000 FP32, 17 digits: per number", 100'000, false, 100'000);
    return 0;
}
