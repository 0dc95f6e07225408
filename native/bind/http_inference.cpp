// How a connection answers common inferences: from the body to the model queue.
#include <algorithm>

#include "http_connection.hpp"
#include "mpserve/header_pairs.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

constexpr std::string_view kModelsPrefix = "/v2/models/";
constexpr std::string_view kInferSuffix = "/infer";
constexpr std::string_view kVersions = "/versions/";

// Whether the client may want a compressed answer: Python's part.
bool wants_compression(std::string_view accept_encoding) noexcept {
    return accept_encoding.find("gzip") != std::string_view::npos ||
           accept_encoding.find("deflate") != std::string_view::npos;
}

}  // namespace

// Binary tensors for a model that is known are no matter of the limit of JSON bodies: they lie in
// the arena, which has a limit of its own.
bool HttpConnection::receives_in_place() const noexcept {
    return head_.header_length_state == HeaderLength::valid && head_.header_length > 0 &&
           head_.header_length <= std::min(head_.content_length, config_.max_body_bytes) &&
           head_.content_encoding.empty() && find_route(head_.path) != nullptr;
}

std::uint64_t HttpConnection::body_limit() const noexcept {
    return receives_in_place() ? config_.max_binary_body_bytes : config_.max_body_bytes;
}

const RouteRef* HttpConnection::find_route(std::string_view path) const noexcept {
    if (!path.starts_with(kModelsPrefix) || !path.ends_with(kInferSuffix)) return nullptr;
    if (path.size() <= kModelsPrefix.size() + kInferSuffix.size()) return nullptr;
    auto name =
        path.substr(kModelsPrefix.size(), path.size() - kModelsPrefix.size() - kInferSuffix.size());
    std::string_view version;
    const auto slash = name.find('/');
    if (slash != std::string_view::npos) {
        const auto rest = name.substr(slash);
        if (!rest.starts_with(kVersions)) return nullptr;
        version = rest.substr(kVersions.size());
        name = name.substr(0, slash);
        if (version.empty() || version.find('/') != std::string_view::npos) return nullptr;
    }
    const auto* route = dispatcher_.find(name, version);
    return route != nullptr && (*route)->native ? route : nullptr;
}

// The headers of the request as its model sees them, names in lower case. From the last to the
// first: of repeated ones the first then comes last, and counts.
std::string_view HttpConnection::pairs_of_head() {
    auto& pairs = config_.pairs;
    pairs.assign(config_.request_events);
    for (auto index = head_.field_count(); index-- > 0;) {
        for (const char byte : head_.field_name(index)) {
            pairs.push_back(byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte | 0x20) : byte);
        }
        append_pair(pairs, {}, head_.field_value(index));
    }
    return pairs;
}

// Takes the block over when it says true.
bool HttpConnection::submit_inference(std::string_view body, const Block& block,
                                      std::uint64_t body_offset) {
    if (!config_.native_inference) return false;
    const auto* found = find_route(head_.path);
    if (found == nullptr || body.empty() || !head_.content_encoding.empty() ||
        head_.repeated_singleton || head_.header_length_state == HeaderLength::invalid ||
        (config_.compresses && wants_compression(head_.accept_encoding))) {
        return false;
    }
    const auto& route = **found;
    auto json = body;
    if (head_.header_length_state == HeaderLength::valid) {
        if (head_.header_length == 0 || head_.header_length > body.size()) return false;
        json = body.substr(0, head_.header_length);
    }
    const auto binary_bytes = body.size() - json.size();
    const bool in_block = static_cast<bool>(block);
    auto& decoder = config_.decoder;
    auto outcome = decoder.plan(json, binary_bytes, route.signature,
                                {.keep_tensor_parameters = route.keep_tensor_parameters,
                                 .reads_sequences = route.sequences.has_value(),
                                 .max_json_bytes = config_.max_body_bytes,
                                 .regions = dispatcher_.regions()});
    if (outcome != DecodeOutcome::accepted) {
        ++config_.declined[static_cast<std::size_t>(outcome)];
        return false;
    }
    std::unique_ptr<SequenceMark> mark;
    if (!mark_natively(route, decoder.sequence(), decoder.first_shape(), mark)) {
        ++config_.declined[static_cast<std::size_t>(DecodeOutcome::feature)];
        return false;
    }
    // Here, because what is declined above is counted where Python takes it.
    if (dispatcher_.traces().holds_back(route.model_name, head_.has_trace_context)) return false;
    // The model sees the id that the answer has.
    const bool needs_id =
        route.takes_headers && config_.style == ResponseStyle::mlserver && !decoder.has_id();
    const auto made_up = needs_id ? make_request_id(config_) : std::string();
    const auto pairs = route.takes_headers ? pairs_of_head() : std::string_view{};
    const auto more_bytes = pairs.size() + made_up.size();
    const Block target =
        in_block ? block : dispatcher_.allocate(route, decoder.block_bytes(false) + more_bytes);
    if (!target) return false;
    auto& builder = config_.builder;
    builder.begin(target.data, in_block ? body_offset : target.bytes, target.bytes,
                  MessageKind::request);
    Text id{};
    outcome = DecodeOutcome::room;
    if (more_bytes == 0 || (builder.append_text(made_up, id) &&
                            builder.append_text(pairs, builder.header().headers))) {
        const auto* behind = reinterpret_cast<const std::byte*>(json.data() + json.size());
        outcome = decoder.fill(builder, {.data = behind, .in_block = in_block});
    }
    if (outcome != DecodeOutcome::accepted) {
        ++config_.declined[static_cast<std::size_t>(outcome)];
        if (!in_block) dispatcher_.arena().release(target.ref);
        return false;
    }
    if (needs_id) {
        builder.header().id = id;
        builder.header().flags |= kHasId;
    }
    const auto bytes = builder.header().total_bytes;
    const auto view = MessageView::open(target.data, bytes);
    if (!view) {
        if (!in_block) dispatcher_.arena().release(target.ref);
        return false;
    }
    Submission submission{.route = *found, .block = target, .message_bytes = bytes};
    submission.mark = std::move(mark);
    dispatcher_.describe(*view, submission);
    const auto sequence = next_sequence_;
    auto& pending = open_pending();
    pending.is_inference = true;
    if (dispatcher_.traffic().is_on()) {
        const bool names_version = head_.path.size() > kModelsPrefix.size() + kInferSuffix.size() +
                                                           route.model_name.size();
        begin_counting(pending, names_version ? config_.versioned_infer_place : config_.infer_place,
                       body_begun_ns_);
    }
    pending.token = dispatcher_.submit(std::move(submission), this, nb::borrow(self_), sequence);
    ++config_.requests_native;
    return true;
}

}  // namespace mpserve::bind
