// Requests and answers that pass through blocks of the heap instead of shared memory: for tests,
// and for requests that a worker makes for itself (warm-up).
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <nanobind/nanobind.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "inference_request.hpp"
#include "inference_response.hpp"
#include "loopback.hpp"
#include "model_exception.hpp"
#include "response_writer.hpp"
#include "tensor.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

class HeapBlock {
public:
    explicit HeapBlock(std::uint64_t bytes)
        : capacity_(bytes),
          memory_(
              static_cast<std::byte*>(::operator new(bytes, std::align_val_t{kTensorAlignment}))) {}
    ~HeapBlock() { ::operator delete(memory_, std::align_val_t{kTensorAlignment}); }
    HeapBlock(const HeapBlock&) = delete;
    HeapBlock& operator=(const HeapBlock&) = delete;

    std::byte* data() const noexcept { return memory_; }
    std::uint64_t capacity() const noexcept { return capacity_; }

private:
    std::uint64_t capacity_;
    std::byte* memory_;
};

// The lease of a block on the heap: deletes itself, and the block with it, when nobody uses it.
class HeapLease final : public RequestLease {
public:
    explicit HeapLease(std::uint64_t bytes) : block(bytes) {}
    bool is_cancelled() const noexcept override { return cancelled; }

    HeapBlock block;
    bool cancelled = false;

private:
    void on_unused() noexcept override { delete this; }
};

using RequestedOutput = std::pair<std::string, std::string>;  // name, parameters as JSON text

struct RequestFields {
    std::string request_id;
    std::string parameters_json;
    std::vector<RequestedOutput> outputs;
    std::uint64_t sequence_id = 0;
    std::string sequence_text;
    std::uint32_t flags = 0;
    std::uint64_t timeout_us = 0;
};

// Enough for the texts, tables and paddings of a message besides its tensors' data.
std::uint64_t overhead_bytes(const RequestFields& fields) {
    std::uint64_t bytes = sizeof(MessageHeader) + fields.request_id.size() +
                          fields.parameters_json.size() + fields.sequence_text.size() + 64;
    for (const auto& [name, parameters] : fields.outputs) {
        bytes += name.size() + parameters.size() + sizeof(OutputRecord);
    }
    return bytes;
}

bool append_inputs(MessageBuilder& builder,
                   const std::vector<std::pair<Tensor*, std::uint64_t>>& inputs) {
    for (const auto& [tensor, bytes] : inputs) {
        Text parameters{};
        if (!builder.append_text(tensor->parameters(), parameters)) return false;
        auto* place =
            builder.append_tensor(tensor->name(), tensor->datatype(), tensor->shape(), bytes);
        if (place == nullptr || !tensor->write_wire(place, bytes)) return false;
        builder.set_tensor_parameters(parameters);
    }
    return true;
}

bool append_fields(MessageBuilder& builder, const RequestFields& fields) {
    auto& header = builder.header();
    header.sequence_id = fields.sequence_id;
    header.flags = fields.flags;
    header.timeout_us = fields.timeout_us;
    for (const auto& [name, parameters] : fields.outputs) {
        OutputRecord record{};
        if (!builder.append_text(name, record.name) ||
            !builder.append_text(parameters, record.parameters) || !builder.append_output(record)) {
            return false;
        }
    }
    return builder.append_text(fields.request_id, header.id) &&
           builder.append_text(fields.parameters_json, header.parameters) &&
           builder.append_text(fields.sequence_text, header.sequence_text);
}

class LoopbackRequest {
public:
    LoopbackRequest(nb::handle inputs, const RequestFields& fields,
                    std::shared_ptr<const InstanceContext> context)
        : context_(std::move(context)) {
        std::vector<std::pair<Tensor*, std::uint64_t>> tensors;
        auto bytes = overhead_bytes(fields);
        for (const nb::handle input : inputs) {
            auto* tensor = nb::cast<Tensor*>(input);
            tensors.emplace_back(tensor, tensor->wire_bytes());
            bytes += tensors.back().second + tensor->name().size() + tensor->parameters().size() +
                     tensor->shape().size_bytes() + sizeof(TensorRecord) + 2 * kTensorAlignment;
        }
        lease_ = LeaseRef(new HeapLease(bytes));
        const auto& block = heap_lease().block;
        MessageBuilder builder;
        builder.begin(block.data(), block.capacity(), block.capacity(), MessageKind::request);
        if (!append_fields(builder, fields) || !append_inputs(builder, tensors) ||
            !builder.finish()) {
            throw ModelException("the request does not fit into its block");
        }
    }

    nb::object request() const {
        const auto& block = heap_lease().block;
        const auto view = MessageView::open(block.data(), block.capacity());
        if (!view) throw ModelException("the request's message is not valid");
        return make_request(lease_, *view, context_);
    }

    bool is_leased() const noexcept { return lease_->use_count() > 1; }
    void cancel() noexcept { heap_lease().cancelled = true; }

private:
    HeapLease& heap_lease() const noexcept { return *static_cast<HeapLease*>(lease_.get()); }

    std::shared_ptr<const InstanceContext> context_;
    LeaseRef lease_;
};

// What a client would get of an answer.
class LoopbackAnswer {
public:
    LoopbackAnswer(const InferenceRequest& request, const InferenceResponse& response)
        : block_(writer_.measure(request, response)) {
        if (!writer_.write(block_.data(), block_.capacity(), kFinalResponse)) {
            throw ModelException("the answer does not fit into its block");
        }
        view_ = MessageView::open(block_.data(), block_.capacity());
        if (!view_) throw ModelException("the answer's message is not valid");
    }

    std::uint32_t status() const noexcept { return view_->header().status; }
    std::string error() const { return std::string(view_->text(view_->header().error)); }
    std::string parameters() const { return std::string(view_->text(view_->header().parameters)); }

    // (name, datatype, shape, parameters, bytes on the wire) of each output.
    nb::list outputs() const {
        nb::list outputs;
        for (std::uint32_t index = 0; index < view_->tensor_count(); ++index) {
            const auto tensor = view_->tensor(index);
            outputs.append(nb::make_tuple(
                std::string(tensor.name), std::string(datatype_name(tensor.datatype)),
                std::vector<std::int64_t>(tensor.shape.begin(), tensor.shape.end()),
                std::string(tensor.parameters),
                nb::bytes(tensor.data, static_cast<std::size_t>(tensor.data_bytes))));
        }
        return outputs;
    }

private:
    ResponseWriter writer_;
    HeapBlock block_;
    std::optional<MessageView> view_;
};

}  // namespace

void bind_loopback(nb::module_& m) {
    nb::class_<LoopbackRequest>(m, "LoopbackRequest", "A request in a block of the heap.")
        .def(
            "__init__",
            [](LoopbackRequest* self, nb::handle inputs, std::shared_ptr<InstanceContext> context,
               std::string request_id, std::string parameters_json,
               std::vector<RequestedOutput> outputs, std::uint64_t sequence_id,
               std::string sequence_text, std::uint32_t flags, std::uint64_t timeout_us) {
                new (self) LoopbackRequest(inputs,
                                           {.request_id = std::move(request_id),
                                            .parameters_json = std::move(parameters_json),
                                            .outputs = std::move(outputs),
                                            .sequence_id = sequence_id,
                                            .sequence_text = std::move(sequence_text),
                                            .flags = flags,
                                            .timeout_us = timeout_us},
                                           std::move(context));
            },
            nb::arg("inputs"), nb::arg("context"), nb::kw_only(), nb::arg("request_id") = "",
            nb::arg("parameters_json") = "", nb::arg("outputs") = nb::list(),
            nb::arg("sequence_id") = 0, nb::arg("sequence_text") = "", nb::arg("flags") = 0,
            nb::arg("timeout_us") = 0)
        .def("request", &LoopbackRequest::request, "A new request object on the block.")
        .def("cancel", &LoopbackRequest::cancel)
        .def_prop_ro("is_leased", &LoopbackRequest::is_leased,
                     "Whether a request object, tensor or array still looks into the block.");
    nb::class_<LoopbackAnswer>(m, "LoopbackAnswer", "An answer as it goes to a client.")
        .def(nb::init<const InferenceRequest&, const InferenceResponse&>(), nb::arg("request"),
             nb::arg("response"))
        .def_prop_ro("status", &LoopbackAnswer::status)
        .def_prop_ro("error", &LoopbackAnswer::error)
        .def_prop_ro("parameters", &LoopbackAnswer::parameters)
        .def("outputs", &LoopbackAnswer::outputs,
             "List of (name, datatype, shape, parameters, bytes) of the outputs that are sent.");
}

}  // namespace mpserve::bind
