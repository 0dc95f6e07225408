// A message that another process wrote: whatever its bytes say, a view of it stays inside its
// block.

#include "mpserve/message.hpp"

#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "check.hpp"
#include "codec_fixtures.hpp"

using namespace mpserve;
using namespace mpserve::fixtures;

namespace {

constexpr std::int64_t kShape[] = {2, 3};

// Texts, a tensor in the block, one in a region, strings, and outputs; returns its bytes.
std::uint64_t write_message(TestBlock& block) {
    MessageBuilder builder;
    builder.begin(block.data(), block.bytes(), block.bytes(), MessageKind::request);
    auto& header = builder.header();
    CHECK(builder.append_text("id", header.id));
    CHECK(builder.append_text("{}", header.parameters));
    CHECK(builder.append_text("seven", header.sequence_text));
    CHECK(builder.append_tensor("A", Datatype::fp32, kShape, 24) != nullptr);
    CHECK(builder.refer_region("B", Datatype::int8, kShape, 5, 100, 6));
    CHECK(builder.append_tensor("S", Datatype::bytes, {}, 9) != nullptr);
    OutputRecord record{};
    CHECK(builder.append_text("X", record.name));
    CHECK(builder.append_output(record));
    CHECK(builder.append_output({}));
    CHECK(builder.finish());
    return builder.header().total_bytes;
}

bool lies_within(const TestBlock& block, std::string_view text) {
    const auto* base = reinterpret_cast<const char*>(const_cast<TestBlock&>(block).data());
    return text.empty() ||
           (text.data() >= base && text.data() + text.size() <= base + block.bytes());
}

// Looks at all that a view gives; the address sanitizer looks with it.
std::uint64_t read_all(const MessageView& view, const TestBlock& block) {
    std::uint64_t sum = 0;
    const auto take = [&](std::string_view text) {
        CHECK(lies_within(block, text));
        for (const char letter : text) sum += static_cast<std::uint8_t>(letter);
    };
    const auto& header = view.header();
    for (const auto& text :
         {header.id, header.parameters, header.sequence_text, header.error, header.trace_context}) {
        take(view.text(text));
    }
    for (std::uint32_t index = 0; index < view.tensor_count(); ++index) {
        const auto tensor = view.tensor(index);
        take(tensor.name);
        take(tensor.parameters);
        for (const auto size : tensor.shape) CHECK(size >= 0);
        if (tensor.region != 0) continue;
        take({reinterpret_cast<const char*>(tensor.data), tensor.data_bytes});
    }
    for (std::uint32_t index = 0; index < view.output_count(); ++index) {
        take(view.output(index).name);
        take(view.output(index).parameters);
    }
    return sum;
}

}  // namespace

TEST_CASE(a_message_is_read_as_it_was_written) {
    TestBlock block(1024);
    const auto bytes = write_message(block);
    const auto view = MessageView::open(block.data(), bytes);
    CHECK(view.has_value());
    if (!view) return;
    CHECK_EQUAL(view->tensor_count(), 3u);
    CHECK_EQUAL(view->output_count(), 2u);
    CHECK_EQUAL(view->tensor(1).region, 5u);
    CHECK(view->tensor(1).data == nullptr);
    CHECK(read_all(*view, block) > 0);
    for (std::uint64_t less = 0; less < bytes; ++less) {
        CHECK(!MessageView::open(block.data(), less).has_value());
    }
}

TEST_CASE(what_points_out_of_its_block_is_not_opened) {
    const auto opens = [](auto&& damage) {
        TestBlock block(1024);
        const auto bytes = write_message(block);
        auto& header = *reinterpret_cast<MessageHeader*>(block.data());
        auto* tensors = reinterpret_cast<TensorRecord*>(block.data() + header.tensor_table_offset);
        auto* outputs = reinterpret_cast<OutputRecord*>(block.data() + header.output_table_offset);
        damage(header, tensors, outputs);
        return MessageView::open(block.data(), bytes).has_value();
    };
    using Header = MessageHeader;
    using Tensor = TensorRecord;
    using Output = OutputRecord;
    CHECK(opens([](Header&, Tensor*, Output*) {}));
    CHECK(!opens([](Header& header, Tensor*, Output*) { header.magic ^= 1; }));
    CHECK(!opens([](Header& header, Tensor*, Output*) { ++header.version; }));
    CHECK(!opens([](Header& header, Tensor*, Output*) { header.total_bytes = 64; }));
    CHECK(!opens([](Header& header, Tensor*, Output*) { ++header.total_bytes; }));
    CHECK(!opens([](Header& header, Tensor*, Output*) { header.tensor_count = kMaxTensors + 1; }));
    CHECK(!opens([](Header& header, Tensor*, Output*) { header.output_count = 40; }));
    CHECK(!opens([](Header& header, Tensor*, Output*) { header.tensor_table_offset += 4; }));
    CHECK(!opens([](Header& header, Tensor*, Output*) { header.output_table_offset = ~7ull; }));
    CHECK(!opens([](Header& header, Tensor*, Output*) { header.error = {1020, 8}; }));
    CHECK(!opens([](Header& header, Tensor*, Output*) { header.status = kStatusCount; }));
    CHECK(!opens([](Header&, Tensor* tensors, Output*) { tensors[0].datatype = 0; }));
    CHECK(!opens([](Header&, Tensor* tensors, Output*) { tensors[0].datatype = kDatatypeCount; }));
    CHECK(!opens([](Header&, Tensor* tensors, Output*) { tensors[0].rank = kMaxRank + 1; }));
    CHECK(!opens([](Header&, Tensor* tensors, Output*) { tensors[0].shape_offset += 1; }));
    CHECK(!opens([](Header&, Tensor* tensors, Output*) { tensors[0].shape_offset = 1u << 31; }));
    CHECK(!opens([](Header&, Tensor* tensors, Output*) { tensors[0].data_bytes = 28; }));
    CHECK(!opens([](Header&, Tensor* tensors, Output*) { tensors[0].data_offset = ~0ull; }));
    CHECK(!opens([](Header&, Tensor* tensors, Output*) { tensors[2].data_bytes = 1000; }));
    CHECK(!opens([](Header&, Tensor* tensors, Output*) { tensors[1].name.length = 1000; }));
    CHECK(!opens([](Header&, Tensor*, Output* outputs) { outputs[0].parameters = {9, 9999}; }));
}

TEST_CASE(damaged_messages_never_lead_out_of_their_block) {
    TestBlock good(1024);
    const auto bytes = write_message(good);
    std::mt19937_64 random(check::seed());
    TestBlock block(bytes);
    std::uint64_t opened = 0;
    for (auto round = check::rounds(20'000); round > 0; --round) {
        std::memcpy(block.data(), good.data(), bytes);
        for (auto changes = 1 + random() % 3; changes > 0; --changes) {
            auto* place = block.data() + random() % bytes;
            *place = random() % 2 == 0 ? static_cast<std::byte>(random()) : std::byte{0xff};
        }
        const auto view = MessageView::open(block.data(), bytes);
        if (!view) continue;
        ++opened;
        read_all(*view, block);
    }
    CHECK(opened > 0);
}

int main() { return check::run_all(); }
