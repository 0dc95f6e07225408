#include "mpserve/grpc_framing.hpp"

#include <algorithm>
#include <cstring>

namespace mpserve {

namespace {

// Memory is not reserved for what a prefix only promises.
constexpr std::uint32_t kReserveAtOnce = 64 * 1024;

}  // namespace

void GrpcMessageReader::reset(std::uint64_t max_message_bytes) noexcept {
    max_message_bytes_ = max_message_bytes;
    prefix_filled_ = 0;
    gathering_ = gathered_ = failed_ = false;
    place_ = nullptr;
    own_.clear();
}

ByteBuffer GrpcMessageReader::take_gathered() noexcept {
    gathered_ = false;
    return std::exchange(own_, ByteBuffer());
}

bool GrpcMessageReader::take_prefix(std::string_view& input) noexcept {
    const auto wanted = std::min<std::size_t>(kGrpcPrefixBytes - prefix_filled_, input.size());
    if (wanted != 0) std::memcpy(prefix_ + prefix_filled_, input.data(), wanted);
    prefix_filled_ += static_cast<std::uint32_t>(wanted);
    input.remove_prefix(wanted);
    return prefix_filled_ == kGrpcPrefixBytes;
}

GrpcFrameStep GrpcMessageReader::next(std::string_view& input) {
    if (gathered_) {
        gathered_ = false;
        own_.clear();
    }
    if (failed_ || input.empty()) return {};
    if (gathering_) return gather(input);
    if (!take_prefix(input)) return {};
    GrpcFrameStep step;
    step.compressed = prefix_[0] == 1;
    for (std::size_t index = 1; index < kGrpcPrefixBytes; ++index) {
        step.bytes = step.bytes << 8 | static_cast<std::uint8_t>(prefix_[index]);
    }
    if (static_cast<std::uint8_t>(prefix_[0]) > 1 || step.bytes > max_message_bytes_) {
        failed_ = true;
        step.event = static_cast<std::uint8_t>(prefix_[0]) > 1 ? GrpcFrameEvent::bad_flag
                                                               : GrpcFrameEvent::too_large;
        return step;
    }
    if (input.size() >= step.bytes) {
        step.event = GrpcFrameEvent::message;
        step.body = input.substr(0, step.bytes);
        input.remove_prefix(step.bytes);
        prefix_filled_ = 0;
        return step;
    }
    bytes_ = step.bytes;
    filled_ = 0;
    place_ = nullptr;
    gathering_ = true;
    step.event = GrpcFrameEvent::body_starts;
    step.body = input;
    return step;
}

GrpcFrameStep GrpcMessageReader::gather(std::string_view& input) {
    const auto taken =
        static_cast<std::uint32_t>(std::min<std::size_t>(bytes_ - filled_, input.size()));
    if (place_ != nullptr) {
        if (taken != 0) std::memcpy(place_ + filled_, input.data(), taken);
    } else {
        if (own_.capacity() == 0) own_.reserve(std::min(bytes_, kReserveAtOnce));
        own_.append(input.substr(0, taken));
    }
    filled_ += taken;
    input.remove_prefix(taken);
    if (filled_ != bytes_) return {};
    GrpcFrameStep step{.event = GrpcFrameEvent::message,
                       .compressed = prefix_[0] == 1,
                       .bytes = bytes_,
                       .body = place_ != nullptr
                                   ? std::string_view{reinterpret_cast<const char*>(place_), bytes_}
                                   : own_.view()};
    gathered_ = place_ == nullptr;
    gathering_ = false;
    place_ = nullptr;
    prefix_filled_ = 0;
    return step;
}

}  // namespace mpserve
