#include "codec.hpp"

#include <cstring>
#include <new>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "mpserve/answer_events.hpp"
#include "mpserve/header_pairs.hpp"
#include "mpserve/http_chunked.hpp"
#include "mpserve/http_head.hpp"
#include "mpserve/proto_decode.hpp"
#include "mpserve/proto_encode.hpp"
#include "mpserve/v2_decode.hpp"
#include "mpserve/v2_encode.hpp"
#include "region_table.hpp"
#include "signature.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace mpserve::bind {

namespace {

nb::bytes bytes_of(std::string_view text) { return nb::bytes(text.data(), text.size()); }

std::string_view view_of(const nb::bytes& bytes) {
    return {static_cast<const char*>(bytes.data()), bytes.size()};
}

// --- HTTP ---------------------------------------------------------------------------------------

// What `parse_head` made of some bytes; the bytes are kept, because the head looks into them.
struct HeadResultObject {
    nb::bytes buffer;
    HttpHead head;
    HeadResult result;
};

std::vector<std::pair<nb::bytes, nb::bytes>> fields_of(const HttpHead& head) {
    std::vector<std::pair<nb::bytes, nb::bytes>> fields;
    for (std::size_t index = 0; index < head.field_count(); ++index) {
        fields.emplace_back(bytes_of(head.field_name(index)), bytes_of(head.field_value(index)));
    }
    return fields;
}

std::vector<std::pair<nb::bytes, nb::bytes>> http_fields_of(const nb::bytes& pairs,
                                                            const nb::bytes& events) {
    std::vector<std::pair<nb::bytes, nb::bytes>> fields;
    const auto take = [&fields](const HeaderPair& pair) {
        fields.emplace_back(bytes_of(pair.name), bytes_of(pair.value));
    };
    HeaderPairs servers(view_of(events));
    while (const auto pair = servers.next()) {
        if (fits_a_head(pair->value)) take(*pair);
    }
    HeaderPairs models(view_of(pairs));
    while (const auto pair = models.next()) {
        if (is_for_http(*pair, events.size() != 0)) take(*pair);
    }
    return fields;
}

nb::bytes grpc_pairs_of(const nb::bytes& pairs, const nb::bytes& events) {
    std::string fitting;
    append_for_grpc(fitting, view_of(pairs), events.size() != 0);
    append_events(fitting, view_of(events));
    return bytes_of(fitting);
}

nb::bytes event_pairs(const nb::bytes& constant, std::string_view model_name, std::string_view id) {
    std::string pairs(view_of(constant));
    if (pairs.empty()) return bytes_of({});
    for (const auto& pair : own_events(model_name, id)) {
        const bool fits = !pair.value.empty() && pair.value.find('\0') == std::string_view::npos;
        if (fits) append_pair(pairs, pair.name, pair.value);
    }
    return bytes_of(pairs);
}

void bind_header_pairs(nb::module_& m) {
    m.def(
        "http_fields_of", &http_fields_of, "headers"_a, nb::kw_only(), "events"_a,
        "The server's CloudEvents fields and a model's headers (both: name, NUL, value, NUL "
        "each), as far as a head can carry them; of the latter no such fields beside the former.");
    m.def("grpc_pairs_of", &grpc_pairs_of, "headers"_a, nb::kw_only(), "events"_a,
          "The same for the metadata behind a gRPC call; names in lower case.");
    m.def("event_pairs", &event_pairs, "constant"_a, nb::kw_only(), "model_name"_a, "id"_a,
          "CloudEvents fields of an answer: `constant`, which all answers have, and its own; none "
          "without `constant`.");
}

void bind_head(nb::module_& m) {
    using Object = HeadResultObject;
    nb::class_<Object>(m, "ParsedHead", "What the bytes of a request head are.")
        .def_prop_ro("status",
                     [](const Object& self) {
                         constexpr const char* kNames[] = {"incomplete", "complete", "bad"};
                         return kNames[static_cast<std::size_t>(self.result.status)];
                     })
        .def_prop_ro("http_status", [](const Object& self) { return self.result.http_status; })
        .def_prop_ro("reason", [](const Object& self) { return std::string(self.result.reason); })
        .def_prop_ro("head_bytes", [](const Object& self) { return self.result.head_bytes; })
        .def_prop_ro("method", [](const Object& self) { return bytes_of(self.head.method_text); })
        .def_prop_ro("target", [](const Object& self) { return bytes_of(self.head.target); })
        .def_prop_ro("minor_version", [](const Object& self) { return self.head.minor_version; })
        .def_prop_ro("keep_alive", [](const Object& self) { return self.head.keep_alive; })
        .def_prop_ro("chunked", [](const Object& self) { return self.head.chunked; })
        .def_prop_ro("content_length",
                     [](const Object& self) -> std::optional<std::uint64_t> {
                         if (!self.head.has_content_length) return std::nullopt;
                         return self.head.content_length;
                     })
        .def_prop_ro("fields", [](const Object& self) {
            const bool is_complete = self.result.status == HeadStatus::complete;
            return is_complete ? fields_of(self.head) : decltype(fields_of(self.head)){};
        });
    m.def(
        "parse_head",
        [](nb::bytes data, std::uint32_t max_head_bytes, std::uint32_t max_fields) {
            Object object{.buffer = data, .head = {}, .result = {}};
            object.result =
                parse_head(view_of(object.buffer), object.head,
                           {.max_head_bytes = max_head_bytes, .max_fields = max_fields});
            return object;
        },
        "data"_a, nb::kw_only(), "max_head_bytes"_a = HeadLimits{}.max_head_bytes,
        "max_fields"_a = HeadLimits{}.max_fields, "Read the head of an HTTP/1.x request.");
}

std::tuple<std::string, nb::bytes, std::size_t> dechunk(const nb::bytes& data,
                                                        std::uint64_t max_body_bytes) {
    constexpr const char* kNames[] = {"incomplete", "data", "complete", "bad"};
    ChunkDecoder decoder;
    decoder.reset({.max_body_bytes = max_body_bytes});
    auto input = view_of(data);
    std::string body;
    auto step = decoder.next(input);
    for (; step.event == ChunkEvent::data; step = decoder.next(input)) body += step.data;
    return {kNames[static_cast<std::size_t>(step.event)], bytes_of(body),
            data.size() - input.size()};
}

// --- requests -----------------------------------------------------------------------------------

using InputRow =
    std::tuple<std::string, std::string, std::vector<std::int64_t>, nb::bytes, std::string>;
using OutputRow = std::pair<std::string, bool>;
using RegionRow = std::tuple<std::uint64_t, std::uint64_t, std::uint64_t>;

struct DecodedRequest {
    DecodeOutcome outcome = DecodeOutcome::accepted;
    std::optional<std::string> id;
    std::string parameters_json;
    bool binary_by_default = false;
    std::vector<InputRow> inputs;
    std::vector<OutputRow> outputs;
    std::uint64_t sequence_id = 0;
    std::string sequence_text;
    std::uint32_t sequence_flags = 0;
    std::vector<RegionRow> regions;
};

// Memory aligned as a block of an arena is.
class ScratchBlock {
public:
    explicit ScratchBlock(std::uint64_t bytes)
        : data_(::operator new(bytes, std::align_val_t{kTensorAlignment})) {}
    ~ScratchBlock() { ::operator delete(data_, std::align_val_t{kTensorAlignment}); }
    ScratchBlock(const ScratchBlock&) = delete;
    ScratchBlock& operator=(const ScratchBlock&) = delete;
    std::byte* data() const noexcept { return static_cast<std::byte*>(data_); }

private:
    void* data_;
};

DecodedRequest describe(const MessageView& view) {
    DecodedRequest request;
    const auto& header = view.header();
    if ((header.flags & kHasId) != 0) request.id = std::string(view.text(header.id));
    request.parameters_json = std::string(view.text(header.parameters));
    request.binary_by_default = (header.flags & kBinaryOutputsByDefault) != 0;
    request.sequence_id = header.sequence_id;
    request.sequence_text = std::string(view.text(header.sequence_text));
    request.sequence_flags = header.flags & (kSequenceStart | kSequenceEnd);
    for (std::uint32_t index = 0; index < view.tensor_count(); ++index) {
        const auto tensor = view.tensor(index);
        request.inputs.emplace_back(
            std::string(tensor.name), std::string(datatype_name(tensor.datatype)),
            std::vector<std::int64_t>(tensor.shape.begin(), tensor.shape.end()),
            bytes_of({reinterpret_cast<const char*>(tensor.data),
                      tensor.region == 0 ? tensor.data_bytes : 0}),
            std::string(tensor.parameters));
        request.regions.emplace_back(tensor.region, tensor.region == 0 ? 0 : tensor.data_offset,
                                     tensor.region == 0 ? 0 : tensor.data_bytes);
    }
    for (std::uint32_t index = 0; index < view.output_count(); ++index) {
        const auto output = view.output(index);
        request.outputs.emplace_back(std::string(output.name), (output.flags & kOutputBinary) != 0);
        request.regions.emplace_back(output.region, output.region_offset, output.region_bytes);
    }
    return request;
}

const RegionTable* table_of(nb::handle regions) {
    return regions.is_none() ? nullptr : &nb::cast<const RegionTableObject&>(regions).table;
}

DecodedRequest decode(const nb::bytes& json, const nb::bytes& binary, nb::handle inputs,
                      nb::handle outputs, std::int32_t max_batch_size, bool open_inputs,
                      bool open_outputs, bool keep_tensor_parameters, bool reads_sequences,
                      std::uint64_t max_json_bytes, nb::handle regions) {
    const auto signature =
        read_signature(inputs, outputs, max_batch_size, open_inputs, open_outputs);
    InferDecoder decoder;
    DecodedRequest declined;
    declined.outcome = decoder.plan(view_of(json), binary.size(), signature,
                                    {.keep_tensor_parameters = keep_tensor_parameters,
                                     .reads_sequences = reads_sequences,
                                     .max_json_bytes = max_json_bytes,
                                     .regions = table_of(regions)});
    if (declined.outcome != DecodeOutcome::accepted) return declined;
    const auto bytes = decoder.block_bytes(false);
    const ScratchBlock block(bytes);
    MessageBuilder builder;
    builder.begin(block.data(), bytes, bytes, MessageKind::request);
    declined.outcome = decoder.fill(
        builder, {.data = static_cast<const std::byte*>(binary.data()), .in_block = false});
    if (declined.outcome != DecodeOutcome::accepted) return declined;
    const auto view = MessageView::open(block.data(), bytes);
    if (!view) throw std::runtime_error("an accepted request does not open");
    return describe(*view);
}

DecodedRequest decode_proto(const nb::bytes& message, nb::handle inputs, nb::handle outputs,
                            std::int32_t max_batch_size, bool open_inputs, bool open_outputs,
                            nb::handle regions) {
    const auto signature =
        read_signature(inputs, outputs, max_batch_size, open_inputs, open_outputs);
    ProtoInferDecoder decoder;
    DecodedRequest declined;
    declined.outcome = decoder.scan(view_of(message));
    if (declined.outcome == DecodeOutcome::accepted) {
        declined.outcome = decoder.check(signature, table_of(regions));
    }
    if (declined.outcome != DecodeOutcome::accepted) return declined;
    const auto bytes = decoder.block_bytes();
    const ScratchBlock block(bytes);
    MessageBuilder builder;
    builder.begin(block.data(), bytes, bytes, MessageKind::request);
    declined.outcome = decoder.fill(builder);
    const auto view = MessageView::open(block.data(), bytes);
    if (declined.outcome != DecodeOutcome::accepted || !view) {
        throw std::runtime_error("a checked request does not fit the room it asked for");
    }
    return describe(*view);
}

void bind_requests(nb::module_& m) {
    nb::class_<DecodedRequest>(m, "DecodedRequest", "A V2 request as the core reads it.")
        .def_prop_ro(
            "outcome",
            [](const DecodedRequest& self) {
                return std::string(decode_outcome_name(self.outcome));
            },
            "\"accepted\", or why the request is left to Python; the rest is then empty.")
        .def_ro("id", &DecodedRequest::id)
        .def_ro("parameters_json", &DecodedRequest::parameters_json)
        .def_ro("binary_by_default", &DecodedRequest::binary_by_default)
        .def_ro("inputs", &DecodedRequest::inputs, "(name, datatype, shape, data, parameters_json)")
        .def_ro("outputs", &DecodedRequest::outputs, "(name, binary)")
        .def_ro("sequence_id", &DecodedRequest::sequence_id)
        .def_ro("sequence_text", &DecodedRequest::sequence_text)
        .def_ro("sequence_flags", &DecodedRequest::sequence_flags)
        .def_ro("regions", &DecodedRequest::regions,
                "(id, offset, bytes) in clients' memory of each input, then of each output; zeros "
                "for none");
    m.def("decode_infer", &decode, "json"_a, "binary"_a = nb::bytes("", 0), nb::kw_only(),
          "inputs"_a = nb::make_tuple(), "outputs"_a = nb::make_tuple(), "max_batch_size"_a = 0,
          "open_inputs"_a = false, "open_outputs"_a = false, "keep_tensor_parameters"_a = false,
          "reads_sequences"_a = false, "max_json_bytes"_a = UINT64_MAX, "regions"_a = nb::none(),
          "Read a V2 inference request; `regions` is the `RegionTable`.");
    m.def("decode_infer_proto", &decode_proto, "message"_a, nb::kw_only(),
          "inputs"_a = nb::make_tuple(), "outputs"_a = nb::make_tuple(), "max_batch_size"_a = 0,
          "open_inputs"_a = false, "open_outputs"_a = false, "regions"_a = nb::none(),
          "Read a `ModelInferRequest`; `regions` is the `RegionTable`.");
}

// --- answers ------------------------------------------------------------------------------------

using AnswerRow =
    std::tuple<std::string, std::string, std::vector<std::int64_t>, nb::bytes, std::string, bool>;

std::uint64_t message_bytes(const std::vector<AnswerRow>& outputs, const std::string& parameters) {
    constexpr std::uint64_t kPerOutput = sizeof(TensorRecord) + sizeof(OutputRecord) +
                                         (kMaxRank + 2) * sizeof(std::int64_t) + kTensorAlignment;
    auto bytes = sizeof(MessageHeader) + parameters.size() + kTensorAlignment;
    for (const auto& [name, datatype, shape, data, own_parameters, binary] : outputs) {
        bytes += kPerOutput + 2 * name.size() + data.size() + own_parameters.size();
    }
    return bytes;
}

// The answer's outputs, and as requested outputs which of them are binary: both in one message.
bool build_answer(MessageBuilder& builder, const std::vector<AnswerRow>& outputs,
                  const std::string& parameters) {
    if (!builder.append_text(parameters, builder.header().parameters)) return false;
    for (const auto& [name, datatype, shape, data, own_parameters, binary] : outputs) {
        OutputRecord record{};
        record.flags = binary ? kOutputBinarySet | kOutputBinary : kOutputBinarySet;
        Text text{};
        if (!builder.append_text(name, record.name) || !builder.append_output(record) ||
            !builder.append_text(own_parameters, text)) {
            return false;
        }
        auto* place = builder.append_tensor(name, datatype_from_name(datatype), shape, data.size());
        if (place == nullptr) return false;
        builder.set_tensor_parameters(text);
        std::memcpy(place, data.data(), data.size());
    }
    return builder.finish();
}

// Bytes of a `ModelInferResponse`; `None` when Python has to write it.
std::optional<nb::bytes> encode_proto(const std::vector<AnswerRow>& outputs,
                                      const std::string& model_name,
                                      const std::string& model_version,
                                      const std::string& request_id,
                                      const std::string& parameters_json) {
    const auto bytes = message_bytes(outputs, parameters_json);
    const ScratchBlock block(bytes);
    MessageBuilder builder;
    builder.begin(block.data(), bytes, bytes, MessageKind::response);
    const bool is_built = build_answer(builder, outputs, parameters_json);
    const auto view = is_built ? MessageView::open(block.data(), bytes) : std::nullopt;
    if (!view) throw nb::value_error("an output's data does not fit its shape and datatype");
    ProtoInferEncoder encoder;
    const ProtoEncodeContext context{
        .model_name = model_name, .model_version = model_version, .id = request_id};
    if (!encoder.plan(*view, context)) return std::nullopt;
    std::string encoded(encoder.bytes(), '\0');
    encoder.write(encoded.data());
    return bytes_of(encoded);
}

std::pair<std::string, nb::bytes> encode(const std::vector<AnswerRow>& outputs, bool mlserver,
                                         const std::string& model_name,
                                         const std::string& model_version,
                                         const std::string& request_id,
                                         const std::string& parameters_json) {
    constexpr const char* kNames[] = {"encoded", "half_float", "not_utf8", "malformed"};
    const auto bytes = message_bytes(outputs, parameters_json);
    const ScratchBlock block(bytes);
    MessageBuilder builder;
    builder.begin(block.data(), bytes, bytes, MessageKind::response);
    const bool is_built = build_answer(builder, outputs, parameters_json);
    const auto view = is_built ? MessageView::open(block.data(), bytes) : std::nullopt;
    if (!view) throw nb::value_error("an output's data does not fit its shape and datatype");
    const EncodeContext context{.style = mlserver ? ResponseStyle::mlserver : ResponseStyle::triton,
                                .model_name = model_name,
                                .model_version = model_version,
                                .id = request_id,
                                .has_id = !request_id.empty(),
                                .keep_alive = true,
                                .minor_version = 1,
                                .fields = {},
                                .binary_by_default = false,
                                .request = &*view};
    ByteBuffer out;
    std::vector<ResponseSegment> segments;
    const auto result = encode_infer_response(*view, context, out, segments);
    std::string text;
    for (const auto& segment : segments) {
        const auto* data = segment.borrowed != nullptr
                               ? reinterpret_cast<const char*>(segment.borrowed)
                               : out.data() + segment.offset;
        text.append(data, segment.bytes);
    }
    return {kNames[static_cast<std::size_t>(result.outcome)], bytes_of(text)};
}

}  // namespace

void bind_codec(nb::module_& m) {
    bind_header_pairs(m);
    bind_head(m);
    m.def(
        "dechunk", &dechunk, "data"_a, nb::kw_only(), "max_body_bytes"_a = UINT64_MAX,
        "Decode a chunked body: (\"incomplete\" | \"complete\" | \"bad\", body, bytes consumed).");
    bind_requests(m);
    m.def("encode_infer", &encode, "outputs"_a, nb::kw_only(), "mlserver"_a = false, "model_name"_a,
          "model_version"_a = "", "request_id"_a = "", "parameters_json"_a = "",
          "Write an HTTP answer of outputs (name, datatype, shape, data, parameters_json, binary): "
          "(outcome, bytes).");
    m.def("encode_infer_proto", &encode_proto, "outputs"_a, nb::kw_only(), "model_name"_a,
          "model_version"_a, "request_id"_a = "", "parameters_json"_a = "",
          "Write a `ModelInferResponse`; `None`: it is Python's to write. `outputs` as in "
          "`encode_infer`.");
}

}  // namespace mpserve::bind
