// One request or response as it lies in a block of an arena: header, texts, tensor data, tables.
//
// Layout (all offsets are relative to the first byte of the header)
//
//     +---------------+---------------------------+-------------------+------------------+
//     | MessageHeader | texts, shapes, tensor data | TensorRecord[...] | OutputRecord[...] |
//     +---------------+---------------------------+-------------------+------------------+
//
// Guarantees: a `MessageView` that was opened stays inside its block, whatever the bytes say;
// shapes
//   are non-negative, and `data_bytes` equals element count x item size for every datatype but
//   BYTES.
// Assumes: the block does not change while it is read (it is lent, see arena.hpp).
// Owner: the process whose arena holds the block; readers hold a lease.
// BYTES tensors are stored in their binary form: little-endian uint32 length + bytes per element.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "mpserve/checked.hpp"
#include "mpserve/datatype.hpp"
#include "mpserve/status.hpp"

namespace mpserve {

inline constexpr std::uint32_t kMessageMagic = 0x4d53504du;  // "MPSM"
inline constexpr std::uint16_t kMessageVersion = 2;
inline constexpr std::size_t kTensorAlignment = 64;
inline constexpr std::size_t kMaxRank = 32;
inline constexpr std::size_t kMaxTensors = 4096;

enum class MessageKind : std::uint16_t { request = 1, response = 2 };

// A run of bytes in the block; length 0 means absent.
struct Text {
    std::uint32_t offset;
    std::uint32_t length;
};

// Request flags.
inline constexpr std::uint32_t kSequenceStart = 1u << 0;
inline constexpr std::uint32_t kSequenceEnd = 1u << 1;
inline constexpr std::uint32_t kBinaryOutputsByDefault = 1u << 2;  // `binary_data_output`
inline constexpr std::uint32_t kHasId = 1u << 3;                   // an id was given (may be empty)
inline constexpr std::uint32_t kTakesMany = 1u << 4;    // the client takes any number of answers
inline constexpr std::uint32_t kHandlerCall = 1u << 5;  // for a handler of the model's own path
inline constexpr std::uint32_t kMoreInputs = 1u << 6;   // the first of a stream of requests
// Response flags.
inline constexpr std::uint32_t kFinalResponse = 1u << 8;

struct MessageHeader {
    std::uint32_t magic;
    std::uint16_t version;
    std::uint16_t kind;
    std::uint64_t total_bytes;  // header to the end of the last table
    std::uint32_t tensor_count;
    std::uint32_t output_count;
    std::uint64_t tensor_table_offset;  // 8-aligned
    std::uint64_t output_table_offset;  // 8-aligned
    Text id;
    Text parameters;     // JSON object text of the custom parameters
    Text sequence_text;  // string correlation id
    Text error;          // response: message of a failure
    std::uint64_t sequence_id;
    std::uint64_t priority;
    std::uint64_t timeout_us;
    std::uint32_t flags;
    std::uint32_t status;  // response: Status
    Text trace_context;
    Text headers;  // of the HTTP request or answer, as `name NUL value NUL` each
    std::uint64_t reserved_;
};

struct TensorRecord {
    Text name;
    Text parameters;  // JSON object text of the tensor's parameters
    std::uint8_t datatype;
    std::uint8_t rank;
    std::uint16_t reserved_flags_;
    std::uint32_t shape_offset;  // int64[rank], 8-aligned
    std::uint64_t data_offset;
    std::uint64_t data_bytes;
    std::uint64_t region;  // 0: data lies in this block; else id of a client's shared-memory region
    std::uint64_t reserved_[2];
};

inline constexpr std::uint32_t kOutputBinary = 1u << 0;     // `binary_data` is true
inline constexpr std::uint32_t kOutputBinarySet = 1u << 1;  // `binary_data` was given

struct OutputRecord {
    Text name;
    Text parameters;
    std::uint32_t flags;
    std::uint32_t classification;  // 0: not asked for
    std::uint64_t region;          // client's shared-memory region, 0: none
    std::uint64_t region_offset;
    std::uint64_t region_bytes;
};

static_assert(sizeof(Text) == 8);
static_assert(sizeof(MessageHeader) == 128);
static_assert(sizeof(TensorRecord) == 64);
static_assert(sizeof(OutputRecord) == 48);

// One tensor of an opened message; valid as long as the block is.
struct TensorView {
    std::string_view name;
    std::string_view parameters;
    Datatype datatype;
    std::span<const std::int64_t> shape;
    std::uint64_t region;
    std::uint64_t data_offset;  // relative to the message, or to the region
    std::uint64_t data_bytes;
    const std::byte* data;  // nullptr when the data lies in a region
};

struct OutputView {
    std::string_view name;
    std::string_view parameters;
    std::uint32_t flags;
    std::uint32_t classification;
    std::uint64_t region;
    std::uint64_t region_offset;
    std::uint64_t region_bytes;
};

// Checked reader of a message that another process (or this one) wrote.
class MessageView {
public:
    // Nothing when any magic, count, offset or size does not hold within `capacity` bytes.
    static std::optional<MessageView> open(const std::byte* base, std::uint64_t capacity) noexcept;

    const MessageHeader& header() const noexcept { return *header_; }
    std::uint32_t tensor_count() const noexcept { return header_->tensor_count; }
    std::uint32_t output_count() const noexcept { return header_->output_count; }
    TensorView tensor(std::uint32_t index) const noexcept;
    OutputView output(std::uint32_t index) const noexcept;
    std::string_view text(Text run) const noexcept {
        return {reinterpret_cast<const char*>(base_) + run.offset, run.length};
    }
    const std::byte* base() const noexcept { return base_; }

private:
    explicit MessageView(const std::byte* base) noexcept
        : base_(base), header_(reinterpret_cast<const MessageHeader*>(base)) {}
    const std::byte* base_;
    const MessageHeader* header_;
};

// Writes a message into a block. All functions say `false` (or nullptr) when there is no room; the
// block then holds no valid message until `finish` succeeds.
//
// Two uses: everything is appended (`append_*`), or tensor data already lies in the block past
// `append_capacity` (a body that was received straight into it) and is only referred to.
class MessageBuilder {
public:
    MessageBuilder() noexcept = default;
    // Starts over in `base`, appending into [0, append_capacity) of `capacity` bytes.
    void begin(std::byte* base, std::uint64_t append_capacity, std::uint64_t capacity,
               MessageKind kind) noexcept;

    bool append_text(std::string_view text, Text& out) noexcept;
    MessageHeader& header() noexcept { return *reinterpret_cast<MessageHeader*>(base_); }

    // Adds a tensor whose data is written by the caller into the returned place (64-aligned).
    // nullptr when there is no room.
    std::byte* append_tensor(std::string_view name, Datatype datatype,
                             std::span<const std::int64_t> shape,
                             std::uint64_t data_bytes) noexcept;
    // Adds a tensor whose data lies at `data_offset` of the block already.
    bool refer_tensor(std::string_view name, Datatype datatype, std::span<const std::int64_t> shape,
                      std::uint64_t data_offset, std::uint64_t data_bytes) noexcept;
    // Adds a tensor whose data lies in a client's region.
    bool refer_region(std::string_view name, Datatype datatype, std::span<const std::int64_t> shape,
                      std::uint64_t region, std::uint64_t offset,
                      std::uint64_t data_bytes) noexcept;
    // For a tensor whose size is known only after writing (BYTES from JSON): open place of at most
    // `remaining()` bytes; `close_open_data(used)` gives the rest back.
    std::byte* open_data() noexcept;
    std::uint64_t remaining() const noexcept { return append_capacity_ - used_; }
    bool close_open_data(std::string_view name, Datatype datatype,
                         std::span<const std::int64_t> shape, std::uint64_t used) noexcept;
    void set_tensor_parameters(Text parameters) noexcept {
        tensors_.back().parameters = parameters;
    }

    bool append_output(const OutputRecord& record) noexcept;
    std::size_t tensor_count() const noexcept { return tensors_.size(); }

    // Writes the tables and the magic; true when the message is valid.
    bool finish() noexcept;
    std::uint64_t used() const noexcept { return used_; }

private:
    std::byte* reserve(std::uint64_t bytes, std::uint64_t alignment) noexcept;
    bool push_tensor(std::string_view name, Datatype datatype, std::span<const std::int64_t> shape,
                     std::uint64_t data_offset, std::uint64_t data_bytes) noexcept;

    std::byte* base_ = nullptr;
    std::uint64_t append_capacity_ = 0;
    std::uint64_t capacity_ = 0;
    std::uint64_t used_ = 0;
    std::uint64_t open_at_ = 0;
    std::vector<TensorRecord> tensors_;  // kept between messages: no allocation once warm
    std::vector<OutputRecord> outputs_;
};

}  // namespace mpserve
