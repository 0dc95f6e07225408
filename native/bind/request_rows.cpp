#include "request_rows.hpp"

#include <cstring>
#include <memory>
#include <vector>

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "raise.hpp"
#include "signature.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

// A piece of a client's region as Python gives it: (id, offset, bytes), or None.
struct GivenRegion {
    std::uint64_t id = 0;
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
};

GivenRegion read_region(nb::handle item, std::size_t place) {
    if (nb::len(item) <= place || item[place].is_none()) return {};
    const nb::object given = item[place];
    return {nb::cast<std::uint64_t>(given[0]), nb::cast<std::uint64_t>(given[1]),
            nb::cast<std::uint64_t>(given[2])};
}

// A tensor as Python gives it: (name, datatype, shape, data, parameters_json, region).
struct GivenTensor {
    std::string name;
    Datatype datatype;
    std::vector<std::int64_t> shape;
    nb::object data;
    std::string parameters;
    GivenRegion region;
};

class BufferView {
public:
    explicit BufferView(nb::handle object) {
        if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_SIMPLE) != 0) throw nb::python_error();
    }
    ~BufferView() { PyBuffer_Release(&view_); }
    BufferView(const BufferView&) = delete;
    BufferView& operator=(const BufferView&) = delete;
    const std::byte* data() const noexcept { return static_cast<const std::byte*>(view_.buf); }
    std::uint64_t size() const noexcept { return static_cast<std::uint64_t>(view_.len); }

private:
    Py_buffer view_{};
};

std::vector<GivenTensor> read_tensors(nb::handle inputs) {
    std::vector<GivenTensor> tensors;
    for (nb::handle item : nb::borrow<nb::iterable>(inputs)) {
        GivenTensor tensor{.name = nb::cast<std::string>(item[0]),
                           .datatype = datatype_from_name(nb::cast<std::string>(item[1])),
                           .shape = nb::cast<std::vector<std::int64_t>>(item[2]),
                           .data = item[3],
                           .parameters = nb::len(item) > 4 ? nb::cast<std::string>(item[4]) : "",
                           .region = read_region(item, 5)};
        if (tensor.datatype == Datatype::invalid) {
            raise("InvalidRequest", "invalid datatype for input " + tensor.name);
        }
        if (tensor.shape.size() > kMaxRank) {
            raise("InvalidRequest",
                  "input '" + tensor.name + "' has " + std::to_string(tensor.shape.size()) +
                      " dimensions, at most " + std::to_string(kMaxRank) + " are allowed");
        }
        tensors.push_back(std::move(tensor));
    }
    return tensors;
}

}  // namespace

void count_refusal(const Route& route) noexcept {
    auto& failures = route.port->counters->failures;
    count(failures[static_cast<std::size_t>(FailureReason::rejected)], 1);
}

Submission write_request(Dispatcher& dispatcher, const RouteRef& route, nb::handle inputs,
                         nb::handle outputs, const std::optional<std::string>& request_id,
                         const std::string& parameters, std::uint32_t flags,
                         std::uint64_t sequence_id, std::string sequence_text,
                         std::uint64_t priority, std::uint64_t timeout_us,
                         std::uint64_t deadline_ns, const std::string& trace_context,
                         std::string_view headers) {
    const auto tensors = read_tensors(inputs);
    if (route->sequences && route->sequences->iterative) {
        give_own_sequence(*route->sequences, dispatcher.next_sequence(), sequence_id, sequence_text,
                          flags);
    }
    std::vector<std::unique_ptr<BufferView>> buffers;
    std::uint64_t bytes = sizeof(MessageHeader) + parameters.size() + sequence_text.size() +
                          trace_context.size() + headers.size() + 256;
    if (request_id) bytes += request_id->size();
    for (const auto& tensor : tensors) {
        buffers.push_back(std::make_unique<BufferView>(tensor.data));
        bytes += buffers.back()->size() + tensor.name.size() + tensor.parameters.size() +
                 kMaxRank * sizeof(std::int64_t) + sizeof(TensorRecord) + 2 * kTensorAlignment;
    }
    for (nb::handle item : nb::borrow<nb::iterable>(outputs)) {
        bytes += sizeof(OutputRecord) + nb::cast<std::string>(item[0]).size() +
                 nb::cast<std::string>(item[3]).size();
    }
    const auto block = dispatcher.allocate(*route, bytes);
    if (!block) {
        count_refusal(*route);
        raise("ArenaFull", dispatcher.arena().refusal(bytes, "the request"));
    }
    MessageBuilder builder;
    builder.begin(block.data, block.bytes, block.bytes, MessageKind::request);
    auto& header = builder.header();
    header.flags = flags | (request_id ? kHasId : 0);
    header.sequence_id = sequence_id;
    header.priority = priority;
    header.timeout_us = timeout_us;
    bool fits = builder.append_text(request_id.value_or(""), header.id) &&
                builder.append_text(parameters, header.parameters) &&
                builder.append_text(sequence_text, header.sequence_text) &&
                builder.append_text(trace_context, header.trace_context) &&
                builder.append_text(headers, header.headers);
    for (nb::handle item : nb::borrow<nb::iterable>(outputs)) {
        OutputRecord record{};
        record.flags = nb::cast<std::uint32_t>(item[1]);
        record.classification = nb::cast<std::uint32_t>(item[2]);
        const auto region = read_region(item, 4);
        record.region = region.id;
        record.region_offset = region.offset;
        record.region_bytes = region.bytes;
        fits = fits && builder.append_text(nb::cast<std::string>(item[0]), record.name) &&
               builder.append_text(nb::cast<std::string>(item[3]), record.parameters) &&
               builder.append_output(record);
    }
    std::vector<Text> tensor_parameters(tensors.size());
    for (std::size_t index = 0; index < tensors.size(); ++index) {
        fits = fits && builder.append_text(tensors[index].parameters, tensor_parameters[index]);
    }
    for (std::size_t index = 0; fits && index < tensors.size(); ++index) {
        const auto& tensor = tensors[index];
        if (tensor.region.id != 0) {
            fits =
                builder.refer_region(tensor.name, tensor.datatype, tensor.shape, tensor.region.id,
                                     tensor.region.offset, tensor.region.bytes);
            if (fits) builder.set_tensor_parameters(tensor_parameters[index]);
            continue;
        }
        const auto& buffer = *buffers[index];
        auto* place =
            builder.append_tensor(tensor.name, tensor.datatype, tensor.shape, buffer.size());
        fits = place != nullptr;
        if (!fits) break;
        builder.set_tensor_parameters(tensor_parameters[index]);
        if (buffer.size() != 0) std::memcpy(place, buffer.data(), buffer.size());
    }
    fits = fits && builder.finish();
    const auto view = fits ? MessageView::open(block.data, header.total_bytes) : std::nullopt;
    if (!view) {
        dispatcher.arena().release(block.ref);
        raise("InvalidRequest", "the bytes of an input do not match its shape and datatype");
    }
    Submission submission{.route = route, .block = block, .message_bytes = header.total_bytes};
    submission.priority = priority;
    submission.timeout_us = timeout_us;
    submission.deadline_ns = deadline_ns;
    dispatcher.describe(*view, submission);
    if (route->sequences) {
        const SequenceWords words{.number = sequence_id, .text = sequence_text, .flags = flags};
        const auto first = tensors.empty() ? std::span<const std::int64_t>{} : tensors[0].shape;
        submission.mark = std::make_unique<SequenceMark>();
        const auto fault = make_mark(*route, words, first, timeout_us, *submission.mark);
        if (fault != MarkFault::none) {
            dispatcher.arena().release(block.ref);
            const auto id = request_id.value_or("");
            refuse_mark(fault, *route, words,
                        "[request id: " + (id.empty() ? "<id_unknown>" : id) + "] ");
        }
    }
    return submission;
}

}  // namespace mpserve::bind
