#include "proto_infer.hpp"

#include <utility>

#include <nanobind/stl/string.h>

#include "answer_object.hpp"
#include "mpserve/answer_events.hpp"
#include "mpserve/header_pairs.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace mpserve::bind {

namespace {

// One request in flight; it keeps the object that encodes its answer.
class ProtoSink final : public AnswerSink {
public:
    ProtoSink(nb::object owner, nb::object callback, bool in_stream)
        : owner_(std::move(owner)), callback_(std::move(callback)), in_stream_(in_stream) {}
    void on_answer(std::uint64_t, Answer& answer) override {
        callback_(nb::cast<ProtoInfer&>(owner_).result_with_headers(answer, in_stream_));
    }

private:
    nb::object owner_;
    nb::object callback_;
    bool in_stream_;
};

nb::object text_of(std::string_view text) {
    return nb::steal(
        PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
}

std::string_view id_of(const Answer& answer) {
    if (answer.request == nullptr) return {};
    return answer.request->text(answer.request->header().id);
}

}  // namespace

ProtoInfer::ProtoInfer(nb::object dispatcher, nb::object on_failure, nb::object on_rare,
                       nb::object on_headers)
    : dispatcher_owner_(std::move(dispatcher)),
      dispatcher_(nb::cast<Dispatcher&>(dispatcher_owner_)),
      on_failure_(std::move(on_failure)),
      on_rare_(std::move(on_rare)),
      on_headers_(std::move(on_headers)) {}

std::nullopt_t ProtoInfer::decline(DecodeOutcome outcome) noexcept {
    ++declined[static_cast<std::size_t>(outcome)];
    return std::nullopt;
}

std::uint64_t ProtoInfer::submit(std::string_view message, nb::object callback,
                                 const CallFacts& call) {
    auto submission = prepare(message, call);
    if (!submission) return 0;
    submission->deadline_ns = call.deadline_ns;
    auto* sink = new ProtoSink(nb::find(this), std::move(callback), call.in_stream);
    auto owner = nb::cast(sink, nb::rv_policy::take_ownership);
    return dispatcher_.submit(std::move(*submission), sink, std::move(owner), 0);
}

std::optional<RouteRef> ProtoInfer::scan(std::string_view message, const CallFacts& call) {
    auto outcome = decoder_.scan(message);
    if (outcome != DecodeOutcome::accepted) return decline(outcome);
    const auto* found = dispatcher_.find(decoder_.model_name(), decoder_.model_version());
    if (found == nullptr || !(*found)->native || (call.of_stream && (*found)->answers_streams)) {
        return decline(DecodeOutcome::feature);
    }
    outcome = decoder_.check((*found)->signature, dispatcher_.regions());
    if (outcome != DecodeOutcome::accepted) return decline(outcome);
    const auto& route = **found;
    if ((decoder_.has_sequence() && !route.sequences) ||
        !mark_natively(route, decoder_.sequence(), decoder_.first_shape(), mark_)) {
        return decline(DecodeOutcome::feature);
    }
    if (dispatcher_.traces().holds_back(route.model_name, call.has_context)) {
        return decline(DecodeOutcome::feature);
    }
    return *found;
}

// What was filled into the block as a request of its own.
std::optional<Submission> ProtoInfer::finish(const RouteRef& route, const Block& block,
                                             DecodeOutcome outcome) {
    const auto bytes = builder_.header().total_bytes;
    const auto view =
        outcome == DecodeOutcome::accepted ? MessageView::open(block.data, bytes) : std::nullopt;
    if (!view) return decline(outcome);
    Submission submission{.route = route, .block = block, .message_bytes = bytes};
    submission.mark = std::move(mark_);
    dispatcher_.describe(*view, submission);
    ++requests_native;
    return submission;
}

// In front of the message's other texts, where its model wants it.
bool ProtoInfer::write_pairs(const RouteRef& route, std::string_view pairs) noexcept {
    if (!route->takes_headers) return true;
    pairs_.assign(request_events_).append(pairs);
    return builder_.append_text(pairs_, builder_.header().headers);
}

std::optional<Submission> ProtoInfer::prepare(std::string_view message, const CallFacts& call) {
    const auto route = scan(message, call);
    if (!route) return std::nullopt;
    const auto more_bytes =
        (*route)->takes_headers ? request_events_.size() + call.pairs.size() : 0;
    const auto block = dispatcher_.allocate(**route, decoder_.block_bytes() + more_bytes);
    if (!block) return decline(DecodeOutcome::room);
    builder_.begin(block.data, block.bytes, block.bytes, MessageKind::request);
    const bool fits = write_pairs(*route, call.pairs);
    auto submission = finish(*route, block, fits ? decoder_.fill(builder_) : DecodeOutcome::room);
    if (!submission) dispatcher_.arena().release(block.ref);
    return submission;
}

std::optional<Submission> ProtoInfer::prepare_in_place(const Block& block, std::uint64_t offset,
                                                       std::uint64_t bytes, const CallFacts& call) {
    const auto route = scan({reinterpret_cast<const char*>(block.data) + offset, bytes}, call);
    if (!route) return std::nullopt;
    const auto more_bytes =
        (*route)->takes_headers ? request_events_.size() + call.pairs.size() : 0;
    if (decoder_.block_bytes_in_place() + more_bytes > offset) return decline(DecodeOutcome::room);
    builder_.begin(block.data, offset, block.bytes, MessageKind::request);
    const bool fits = write_pairs(*route, call.pairs);
    return finish(*route, block, fits ? decoder_.fill_in_place(builder_) : DecodeOutcome::room);
}

bool ProtoInfer::plan(const Answer& answer, bool in_stream) {
    if (answer.response == nullptr) return false;
    return encoder_.plan(*answer.response, {.model_name = answer.route->model_name,
                                            .model_version = answer.route->model_version,
                                            .id = id_of(answer),
                                            .in_stream = in_stream});
}

nb::object ProtoInfer::result_of(Answer& answer, bool in_stream) {
    if (answer.status != Status::ok) {
        return on_failure_(static_cast<std::uint32_t>(answer.status), text_of(answer.error));
    }
    if (!plan(answer, in_stream)) return on_rare_(make_answer_object(answer), in_stream);
    auto encoded =
        nb::steal(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(encoder_.bytes())));
    if (!encoded.is_valid()) throw nb::python_error();
    encoder_.write(PyBytes_AS_STRING(encoded.ptr()));
    return encoded;
}

nb::object ProtoInfer::result_with_headers(Answer& answer, bool in_stream) {
    std::string pairs;  // first: the result may take the block along
    append_metadata(answer, pairs);
    auto result = result_of(answer, in_stream);
    if (pairs.empty() || !PyBytes_Check(result.ptr())) return result;
    return on_headers_(result, nb::bytes(pairs.data(), pairs.size()));
}

void ProtoInfer::append_metadata(const Answer& answer, std::string& pairs) const {
    const bool is_event = answers_are_events() && answer.status == Status::ok;
    if (answer.response != nullptr) {
        append_for_grpc(pairs, answer.response->text(answer.response->header().headers), is_event);
    }
    if (!is_event) return;
    pairs.append(answer_events_);
    for (const auto& pair : own_events(answer.route->model_name, id_of(answer))) {
        if (fits_a_head(pair.value)) append_lowered(pairs, pair);
    }
}

void ProtoInfer::set_answer_events(std::string_view pairs) {
    answer_events_.clear();
    append_events(answer_events_, pairs);
}

void bind_proto_infer(nb::module_& m) {
    nb::class_<ProtoSink>(m, "ProtoSink", "Holds the callback of a `ProtoInfer` in flight.");
    nb::class_<ProtoInfer>(m, "ProtoInfer", "`ModelInfer` in bytes, as far as it is common.")
        .def(nb::init<nb::object, nb::object, nb::object, nb::object>(), nb::kw_only(),
             "dispatcher"_a, "on_failure"_a, "on_rare"_a, "on_headers"_a,
             "`on_failure(code, message)` makes what a callback gets for a failure; "
             "`on_rare(Answer, in_stream)` encodes an answer that the core does not; "
             "`on_headers(message, headers)` makes what it gets for one with headers.")
        .def(
            "submit",
            [](ProtoInfer& self, const nb::bytes& message, nb::object callback, bool in_stream,
               bool has_context, const nb::bytes& headers, bool of_stream,
               std::uint64_t deadline_ns) {
                return self.submit({message.c_str(), message.size()}, std::move(callback),
                                   {.in_stream = in_stream,
                                    .of_stream = of_stream,
                                    .has_context = has_context,
                                    .deadline_ns = deadline_ns,
                                    .pairs = {headers.c_str(), headers.size()}});
            },
            "message"_a, "callback"_a, "in_stream"_a = false, "has_context"_a = false,
            "headers"_a = nb::bytes("", 0), "of_stream"_a = false, "deadline_ns"_a = 0,
            "Submit an encoded `ModelInferRequest`; return its token for `Dispatcher.cancel`, 0 "
            "when Python has to read it. `callback(result)` is called once, later; `in_stream` "
            "says that it is a message of Triton's stream, `headers` what a model may see of the "
            "metadata (name, NUL, value, NUL each), `of_stream` that its model may be one that "
            "answers streams, which is then Python's; what waits past `deadline_ns` of the "
            "monotonic clock is not executed.")
        .def(
            "set_request_events",
            [](ProtoInfer& self, const nb::bytes& pairs) {
                self.set_request_events(std::string(pairs.c_str(), pairs.size()));
            },
            "pairs"_a, "CloudEvents fields that models see with their headers.")
        .def(
            "set_answer_events",
            [](ProtoInfer& self, const nb::bytes& pairs) {
                self.set_answer_events({pairs.c_str(), pairs.size()});
            },
            "pairs"_a, "CloudEvents fields that all answers have; those of one are added.")
        .def(
            "counts",
            [](const ProtoInfer& self) {
                nb::dict counts;
                counts["native"] = self.requests_native;
                for (std::size_t index = 1; index < kDecodeOutcomeCount; ++index) {
                    const auto name = decode_outcome_name(static_cast<DecodeOutcome>(index));
                    counts[nb::str(name.data(), name.size())] = self.declined[index];
                }
                return counts;
            },
            "How many requests were taken, and declined for what.");
}

}  // namespace mpserve::bind
