#include "mpserve/message.hpp"

#include <algorithm>

namespace mpserve {

namespace {

bool in_range(std::uint64_t offset, std::uint64_t length, std::uint64_t total) noexcept {
    return offset <= total && length <= total - offset;
}

bool text_fits(const Text& text, std::uint64_t total) noexcept {
    return in_range(text.offset, text.length, total);
}

bool table_fits(std::uint64_t offset, std::uint64_t count, std::uint64_t record_bytes,
                std::uint64_t total) noexcept {
    return count <= kMaxTensors && offset % 8 == 0 && in_range(offset, count * record_bytes, total);
}

bool tensor_fits(const TensorRecord& record, const std::byte* base, std::uint64_t total) noexcept {
    if (!text_fits(record.name, total) || !text_fits(record.parameters, total)) return false;
    if (record.datatype == 0 || record.datatype >= kDatatypeCount) return false;
    if (record.rank > kMaxRank || record.shape_offset % 8 != 0) return false;
    if (!in_range(record.shape_offset, record.rank * sizeof(std::int64_t), total)) return false;
    const std::span shape{reinterpret_cast<const std::int64_t*>(base + record.shape_offset),
                          record.rank};
    const auto elements = element_count(shape);
    if (!elements) return false;
    const auto datatype = static_cast<Datatype>(record.datatype);
    if (datatype != Datatype::bytes) {
        const auto bytes = checked_mul(*elements, item_bytes(datatype));
        if (!bytes || *bytes != record.data_bytes) return false;
    }
    return record.region != 0 || in_range(record.data_offset, record.data_bytes, total);
}

}  // namespace

std::optional<MessageView> MessageView::open(const std::byte* base,
                                             std::uint64_t capacity) noexcept {
    if (base == nullptr || capacity < sizeof(MessageHeader)) return std::nullopt;
    const auto& header = *reinterpret_cast<const MessageHeader*>(base);
    if (header.magic != kMessageMagic || header.version != kMessageVersion) return std::nullopt;
    const auto total = header.total_bytes;
    if (total > capacity || total < sizeof(MessageHeader)) return std::nullopt;
    for (const auto& text : {header.id, header.parameters, header.sequence_text, header.error,
                             header.trace_context, header.headers}) {
        if (!text_fits(text, total)) return std::nullopt;
    }
    if (header.status >= kStatusCount) return std::nullopt;
    if (!table_fits(header.tensor_table_offset, header.tensor_count, sizeof(TensorRecord), total) ||
        !table_fits(header.output_table_offset, header.output_count, sizeof(OutputRecord), total)) {
        return std::nullopt;
    }
    const auto* tensors = reinterpret_cast<const TensorRecord*>(base + header.tensor_table_offset);
    for (std::uint32_t index = 0; index < header.tensor_count; ++index) {
        if (!tensor_fits(tensors[index], base, total)) return std::nullopt;
    }
    const auto* outputs = reinterpret_cast<const OutputRecord*>(base + header.output_table_offset);
    for (std::uint32_t index = 0; index < header.output_count; ++index) {
        if (!text_fits(outputs[index].name, total) ||
            !text_fits(outputs[index].parameters, total)) {
            return std::nullopt;
        }
    }
    return MessageView(base);
}

TensorView MessageView::tensor(std::uint32_t index) const noexcept {
    const auto& record =
        reinterpret_cast<const TensorRecord*>(base_ + header_->tensor_table_offset)[index];
    return {
        .name = text(record.name),
        .parameters = text(record.parameters),
        .datatype = static_cast<Datatype>(record.datatype),
        .shape = {reinterpret_cast<const std::int64_t*>(base_ + record.shape_offset), record.rank},
        .region = record.region,
        .data_offset = record.data_offset,
        .data_bytes = record.data_bytes,
        .data = record.region == 0 ? base_ + record.data_offset : nullptr,
    };
}

OutputView MessageView::output(std::uint32_t index) const noexcept {
    const auto& record =
        reinterpret_cast<const OutputRecord*>(base_ + header_->output_table_offset)[index];
    return {
        .name = text(record.name),
        .parameters = text(record.parameters),
        .flags = record.flags,
        .classification = record.classification,
        .region = record.region,
        .region_offset = record.region_offset,
        .region_bytes = record.region_bytes,
    };
}

void MessageBuilder::begin(std::byte* base, std::uint64_t append_capacity, std::uint64_t capacity,
                           MessageKind kind) noexcept {
    base_ = base;
    append_capacity_ = append_capacity;
    capacity_ = capacity;
    used_ = sizeof(MessageHeader);
    tensors_.clear();
    outputs_.clear();
    auto& head = *reinterpret_cast<MessageHeader*>(base);
    std::memset(&head, 0, sizeof head);
    head.version = kMessageVersion;
    head.kind = static_cast<std::uint16_t>(kind);
}

std::byte* MessageBuilder::reserve(std::uint64_t bytes, std::uint64_t alignment) noexcept {
    const auto at = align_up(used_, alignment);
    if (at > append_capacity_ || bytes > append_capacity_ - at) return nullptr;
    used_ = at + bytes;
    return base_ + at;
}

bool MessageBuilder::append_text(std::string_view text, Text& out) noexcept {
    auto* place = reserve(text.size(), 1);
    if (place == nullptr || used_ > UINT32_MAX) return false;
    if (!text.empty()) std::memcpy(place, text.data(), text.size());
    out = {static_cast<std::uint32_t>(place - base_), static_cast<std::uint32_t>(text.size())};
    return true;
}

bool MessageBuilder::push_tensor(std::string_view name, Datatype datatype,
                                 std::span<const std::int64_t> shape, std::uint64_t data_offset,
                                 std::uint64_t data_bytes) noexcept {
    if (shape.size() > kMaxRank || tensors_.size() >= kMaxTensors) return false;
    TensorRecord record{};
    if (!append_text(name, record.name)) return false;
    auto* dimensions = reserve(shape.size_bytes(), alignof(std::int64_t));
    if (dimensions == nullptr || used_ > UINT32_MAX) return false;
    if (!shape.empty()) std::memcpy(dimensions, shape.data(), shape.size_bytes());
    record.datatype = static_cast<std::uint8_t>(datatype);
    record.rank = static_cast<std::uint8_t>(shape.size());
    record.shape_offset = static_cast<std::uint32_t>(dimensions - base_);
    record.data_offset = data_offset;
    record.data_bytes = data_bytes;
    tensors_.push_back(record);
    return true;
}

std::byte* MessageBuilder::append_tensor(std::string_view name, Datatype datatype,
                                         std::span<const std::int64_t> shape,
                                         std::uint64_t data_bytes) noexcept {
    // Texts and shapes first: their offsets are 32 bits wide, the data's are not.
    if (!push_tensor(name, datatype, shape, 0, data_bytes)) return nullptr;
    auto* place = reserve(data_bytes, kTensorAlignment);
    if (place == nullptr) {
        tensors_.pop_back();
        return nullptr;
    }
    tensors_.back().data_offset = static_cast<std::uint64_t>(place - base_);
    return place;
}

bool MessageBuilder::refer_tensor(std::string_view name, Datatype datatype,
                                  std::span<const std::int64_t> shape, std::uint64_t data_offset,
                                  std::uint64_t data_bytes) noexcept {
    if (!in_range(data_offset, data_bytes, capacity_)) return false;
    return push_tensor(name, datatype, shape, data_offset, data_bytes);
}

bool MessageBuilder::refer_region(std::string_view name, Datatype datatype,
                                  std::span<const std::int64_t> shape, std::uint64_t region,
                                  std::uint64_t offset, std::uint64_t data_bytes) noexcept {
    if (!push_tensor(name, datatype, shape, offset, data_bytes)) return false;
    tensors_.back().region = region;
    return true;
}

std::byte* MessageBuilder::open_data() noexcept {
    auto* place = reserve(0, kTensorAlignment);
    if (place == nullptr) return nullptr;
    open_at_ = used_;
    return place;
}

bool MessageBuilder::close_open_data(std::string_view name, Datatype datatype,
                                     std::span<const std::int64_t> shape,
                                     std::uint64_t used) noexcept {
    if (used > append_capacity_ - open_at_) return false;
    used_ = open_at_ + used;
    return push_tensor(name, datatype, shape, open_at_, used);
}

bool MessageBuilder::append_output(const OutputRecord& record) noexcept {
    if (outputs_.size() >= kMaxTensors) return false;
    outputs_.push_back(record);
    return true;
}

bool MessageBuilder::finish() noexcept {
    auto* tensor_table = reserve(tensors_.size() * sizeof(TensorRecord), 8);
    if (tensor_table == nullptr) return false;
    auto* output_table = reserve(outputs_.size() * sizeof(OutputRecord), 8);
    if (output_table == nullptr) return false;
    if (!tensors_.empty()) {
        std::memcpy(tensor_table, tensors_.data(), tensors_.size() * sizeof(TensorRecord));
    }
    if (!outputs_.empty()) {
        std::memcpy(output_table, outputs_.data(), outputs_.size() * sizeof(OutputRecord));
    }
    std::uint64_t total = used_;
    for (const auto& record : tensors_) {
        if (record.region == 0) total = std::max(total, record.data_offset + record.data_bytes);
    }
    auto& head = header();
    head.tensor_count = static_cast<std::uint32_t>(tensors_.size());
    head.output_count = static_cast<std::uint32_t>(outputs_.size());
    head.tensor_table_offset = static_cast<std::uint64_t>(tensor_table - base_);
    head.output_table_offset = static_cast<std::uint64_t>(output_table - base_);
    head.total_bytes = total;
    head.magic = kMessageMagic;
    return true;
}

}  // namespace mpserve
