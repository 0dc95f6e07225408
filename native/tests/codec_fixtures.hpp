// What the tests of the V2 codec share: blocks, signatures, and a decoder that shows its message.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "mpserve/checked.hpp"
#include "mpserve/message.hpp"
#include "mpserve/proto_decode.hpp"
#include "mpserve/region_table.hpp"
#include "mpserve/signature.hpp"
#include "mpserve/v2_decode.hpp"

namespace mpserve::fixtures {

// Memory aligned as a block of an arena, of exactly the asked size for the address sanitizer.
class TestBlock {
public:
    explicit TestBlock(std::uint64_t bytes) : bytes_(bytes) {
        if (posix_memalign(&data_, kTensorAlignment, bytes) != 0) throw std::bad_alloc();
        std::memset(data_, 0xa5, bytes);
    }
    ~TestBlock() { std::free(data_); }
    TestBlock(const TestBlock&) = delete;
    TestBlock& operator=(const TestBlock&) = delete;

    std::byte* data() noexcept { return static_cast<std::byte*>(data_); }
    std::uint64_t bytes() const noexcept { return bytes_; }

private:
    void* data_ = nullptr;
    std::uint64_t bytes_;
};

// A message as text, to be compared: id, parameters, flags, tensors and outputs in their order.
inline std::string describe(const MessageView& view) {
    const auto& header = view.header();
    std::ostringstream text;
    text << "id=" << view.text(header.id) << " parameters=" << view.text(header.parameters)
         << " flags=" << header.flags;
    if (header.sequence_id != 0) text << " sequence=" << header.sequence_id;
    if (header.sequence_text.length != 0)
        text << " sequence='" << view.text(header.sequence_text) << "'";
    for (std::uint32_t index = 0; index < view.tensor_count(); ++index) {
        const auto tensor = view.tensor(index);
        text << "\n" << tensor.name << " " << datatype_name(tensor.datatype);
        for (const auto dimension : tensor.shape) text << "," << dimension;
        text << " " << tensor.parameters << " ";
        if (tensor.region != 0) {
            text << "@" << tensor.region << "+" << tensor.data_offset << ":" << tensor.data_bytes;
            continue;
        }
        constexpr char kHex[] = "0123456789abcdef";
        for (std::uint64_t at = 0; at < tensor.data_bytes; ++at) {
            const auto byte = std::to_integer<unsigned>(tensor.data[at]);
            text << kHex[byte >> 4] << kHex[byte & 0xf];
        }
    }
    for (std::uint32_t index = 0; index < view.output_count(); ++index) {
        const auto output = view.output(index);
        text << "\n-> " << output.name << " " << output.flags;
        if (output.region == 0) continue;
        text << " @" << output.region << "+" << output.region_offset << ":" << output.region_bytes;
    }
    return text.str();
}

struct Decoded {
    DecodeOutcome outcome;
    std::string message;        // described, when accepted
    bool is_aligned = true;     // every tensor's data, to its item size
    std::uint64_t used = 0;     // bytes the builder appended
    std::uint64_t planned = 0;  // bytes the plan asked for
};

inline Decoded finish(DecodeOutcome outcome, const MessageBuilder& builder, TestBlock& block,
                      std::uint64_t planned) {
    Decoded decoded{.outcome = outcome, .message = {}, .used = builder.used(), .planned = planned};
    if (outcome != DecodeOutcome::accepted) return decoded;
    const auto view = MessageView::open(block.data(), block.bytes());
    if (!view) {
        decoded.message = "does not open";
        return decoded;
    }
    decoded.message = describe(*view);
    for (std::uint32_t index = 0; index < view->tensor_count(); ++index) {
        const auto tensor = view->tensor(index);
        const auto item = item_bytes(tensor.datatype);
        const auto address = reinterpret_cast<std::uintptr_t>(tensor.data);
        if (tensor.region == 0 && item > 1 && address % item != 0) decoded.is_aligned = false;
    }
    return decoded;
}

// Into a block of just the planned size; binary tensors are copied into it.
inline Decoded decode(std::string_view json, std::string_view binary, const Signature& signature,
                      const DecodeOptions& options = {}) {
    static InferDecoder decoder;
    static MessageBuilder builder;
    const auto outcome = decoder.plan(json, binary.size(), signature, options);
    if (outcome != DecodeOutcome::accepted) return {.outcome = outcome, .message = {}};
    TestBlock block(decoder.block_bytes(false));
    builder.begin(block.data(), block.bytes(), block.bytes(), MessageKind::request);
    const BinaryPart part{.data = reinterpret_cast<const std::byte*>(binary.data()),
                          .in_block = false};
    return finish(decoder.fill(builder, part), builder, block, block.bytes());
}

// The body received into the block, the byte behind the JSON `skew` bytes past a tensor boundary.
inline Decoded decode_in_place(std::string_view json, std::string_view binary,
                               const Signature& signature, const DecodeOptions& options = {},
                               std::uint64_t skew = 0) {
    static InferDecoder decoder;
    static MessageBuilder builder;
    const auto area = decode_bound(json.size());
    const auto offset = align_up(area + json.size(), kTensorAlignment) + skew - json.size();
    TestBlock block(offset + json.size() + binary.size());
    auto* place = reinterpret_cast<char*>(block.data() + offset);
    if (!json.empty()) std::memcpy(place, json.data(), json.size());
    if (!binary.empty()) std::memcpy(place + json.size(), binary.data(), binary.size());
    const std::string_view received{place, json.size()};
    const auto outcome = decoder.plan(received, binary.size(), signature, options);
    if (outcome != DecodeOutcome::accepted) return {.outcome = outcome, .message = {}};
    builder.begin(block.data(), area, block.bytes(), MessageKind::request);
    const BinaryPart part{.data = block.data() + offset + json.size(), .in_block = true};
    const auto planned = decoder.block_bytes(true);
    return finish(decoder.fill(builder, part), builder, block, planned);
}

inline Decoded decode_proto(std::string_view body, const Signature& signature,
                            const RegionTable* regions = nullptr) {
    static ProtoInferDecoder decoder;
    static MessageBuilder builder;
    // A copy of just this size, so that the address sanitizer sees a read past the end.
    const std::vector<char> exact(body.begin(), body.end());
    auto outcome = decoder.scan({exact.data(), exact.size()});
    if (outcome == DecodeOutcome::accepted) outcome = decoder.check(signature, regions);
    if (outcome != DecodeOutcome::accepted) return {.outcome = outcome, .message = {}};
    TestBlock block(decoder.block_bytes());
    builder.begin(block.data(), block.bytes(), block.bytes(), MessageKind::request);
    return finish(decoder.fill(builder), builder, block, block.bytes());
}

// As a connection receives a large message: into the block, behind room for what is appended.
inline Decoded decode_proto_in_place(std::string_view body, const Signature& signature,
                                     std::uint64_t skew = 0, const RegionTable* regions = nullptr) {
    static ProtoInferDecoder decoder;
    static MessageBuilder builder;
    const auto before = ProtoInferDecoder::bytes_before_tensors(body);
    if (!before) return {.outcome = DecodeOutcome::structure, .message = {}};
    const auto area = ProtoInferDecoder::in_place_bound(*before);
    const auto offset = align_up(area + *before, kTensorAlignment) + skew - *before;
    TestBlock block(offset + body.size());
    auto* place = reinterpret_cast<char*>(block.data() + offset);
    std::memcpy(place, body.data(), body.size());
    auto outcome = decoder.scan({place, body.size()});
    if (outcome == DecodeOutcome::accepted) outcome = decoder.check(signature, regions);
    if (outcome != DecodeOutcome::accepted) return {.outcome = outcome, .message = {}};
    const auto planned = decoder.block_bytes_in_place();
    if (planned > offset) return {.outcome = DecodeOutcome::room, .message = {}};
    builder.begin(block.data(), offset, block.bytes(), MessageKind::request);
    return finish(decoder.fill_in_place(builder), builder, block, planned);
}

// Registered: "r", 40 bytes from 64 on of region 3, and "s", all of a tebibyte.
inline const RegionTable& some_regions() {
    static const RegionTable table = [] {
        RegionTable made;
        StringMap<RegionPiece> rows;
        rows.emplace("r", RegionPiece{.id = 3, .offset = 64, .bytes = 40});
        rows.emplace("s", RegionPiece{.id = 9, .offset = 0, .bytes = std::uint64_t{1} << 40});
        made.publish(std::move(rows));
        return made;
    }();
    return table;
}

inline TensorSpec spec(std::string name, Datatype datatype, std::vector<std::int64_t> shape,
                       bool optional = false) {
    TensorSpec made;
    made.name = std::move(name);
    made.datatype = datatype;
    made.shape = std::move(shape);
    made.optional = optional;
    return made;
}

// Takes any request: for tests of the form alone.
inline Signature open_signature() {
    Signature signature;
    signature.open_inputs = signature.open_outputs = true;
    return signature;
}

}  // namespace mpserve::fixtures
