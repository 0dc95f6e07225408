#include <chrono>

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "answer_object.hpp"
#include "dispatcher.hpp"
#include "queue_policy_object.hpp"
#include "raise.hpp"
#include "request_rows.hpp"
#include "signature.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace mpserve::bind {

namespace {

struct PortObject {
    std::shared_ptr<QueuePort> port;
};
struct RouteObject {
    RouteRef route;
};

// A request that this process answered itself, by requests to other models. Nobody else writes the
// counters of the instance whose number is the ring's: an ensemble has no instances.
void count_own(QueuePort& port, std::uint32_t ring, Status status, std::uint64_t taken_ns,
               std::uint32_t rows) noexcept {
    auto& counters = *port.counters;
    if (status != Status::ok) {
        count(counters.failures[static_cast<std::size_t>(failure_reason(status))], 1);
        count(counters.failure_ns, taken_ns);
        return;
    }
    count(counters.successes, 1);
    count(counters.success_ns, taken_ns);
    if (port.latencies != nullptr && port.latencies->summaries != 0) {
        port.latencies->observe(LatencyKind::request, taken_ns);
    }
    auto& own = port.queue->counters(ring);
    count(own.inferences, rows);
    count(own.executions, 1);
    count(own.execute_ns, taken_ns);
    const auto wall = std::chrono::system_clock::now().time_since_epoch();
    own.last_inference_unix_ms.store(
        static_cast<std::uint64_t>(
            std::chrono::duration_cast<std::chrono::milliseconds>(wall).count()),
        std::memory_order_relaxed);
    auto* batch = claim_batch_row(port.queue->batch_rows(), ring, rows);
    if (batch == nullptr) return;
    count(batch->executions, 1);
    count(batch->execute_ns, taken_ns);
}

void bind_route(nb::module_& m) {
    nb::class_<PortObject>(m, "QueuePort", "A model queue as a frontend pushes into it.")
        .def_prop_ro(
            "pending", [](const PortObject& self) { return self.port->unpushed(); },
            "Requests accepted and not yet pushed.")
        .def_prop_ro(
            "in_flight", [](const PortObject& self) { return self.port->in_flight; },
            "Requests accepted and not answered.");
    nb::class_<RouteObject>(m, "Route", "Where requests for one version of one model go.")
        .def(
            "__init__",
            [](RouteObject* self, const PortObject& port, std::string model_name,
               std::string model_version, std::uint64_t generation, nb::object inputs,
               nb::object outputs, std::int32_t max_batch_size, bool open_inputs, bool open_outputs,
               nb::handle queue_policy, bool native, bool keep_tensor_parameters,
               bool takes_headers, bool answers_streams, const nb::object& sequences,
               bool has_siblings) {
                auto route = std::make_shared<Route>();
                route->port = port.port;
                route->model_name = std::move(model_name);
                route->model_version = std::move(model_version);
                route->generation = generation;
                route->signature =
                    read_signature(inputs, outputs, max_batch_size, open_inputs, open_outputs);
                route->policy = read_policy(queue_policy);
                port.port->is_bounded = route->policy.general.max_waiting != 0;
                route->native = native;
                route->keep_tensor_parameters = keep_tensor_parameters;
                route->has_siblings = has_siblings;
                route->takes_headers = takes_headers;
                route->answers_streams = answers_streams;
                if (!sequences.is_none()) {
                    route->sequences.emplace();
                    route->sequences->corrid_name = nb::cast<std::string>(sequences[0]);
                    route->sequences->corrid_datatype = nb::cast<std::string>(sequences[1]);
                    route->sequences->iterative = nb::cast<bool>(sequences[2]);
                }
                new (self) RouteObject{std::move(route)};
            },
            nb::kw_only(), "port"_a, "model_name"_a, "model_version"_a, "generation"_a, "inputs"_a,
            "outputs"_a, "max_batch_size"_a, "open_inputs"_a, "open_outputs"_a,
            "queue_policy"_a = nb::none(), "native"_a = true, "keep_tensor_parameters"_a = false,
            "takes_headers"_a = false, "answers_streams"_a = false, "sequences"_a = nb::none(),
            "has_siblings"_a = false)
        .def(
            "has_sequence",
            [](const RouteObject& self, std::uint64_t number, const std::string& text) {
                SequenceKey key{};
                return key.set(text.empty() ? number : 0, text) && holds_sequence(*self.route, key);
            },
            "sequence_id"_a, "sequence_text"_a,
            "Whether a request of this id would go on with a sequence that has started here.")
        .def_prop_ro("model_name", [](const RouteObject& self) { return self.route->model_name; })
        .def_prop_ro("model_version",
                     [](const RouteObject& self) { return self.route->model_version; })
        .def_prop_ro("generation", [](const RouteObject& self) { return self.route->generation; });
}

}  // namespace

void bind_dispatcher(nb::module_& m) {
    bind_route(m);
    nb::class_<Dispatcher>(m, "Dispatcher", nb::is_weak_referenceable(),
                           "A frontend's side of the data path.")
        .def(
            "__init__",
            [](Dispatcher* self, nb::object board, std::uint32_t process_index, std::uint32_t epoch,
               std::uint32_t frontend_index, nb::object arena, nb::object ring, int wake_fd,
               nb::object attach, nb::object call_soon, nb::object call_later, nb::object regions,
               nb::object on_restarted, std::uint32_t max_in_flight) {
                new (self) Dispatcher(std::move(board), process_index, epoch, frontend_index,
                                      std::move(arena), std::move(ring), wake_fd, std::move(attach),
                                      std::move(call_soon), std::move(call_later),
                                      std::move(regions), std::move(on_restarted), max_in_flight);
                self->flush_callable = nb::cpp_function([self] { self->flush(); });
                self->timer_callable = nb::cpp_function([self] { self->on_timer(); });
            },
            nb::kw_only(), "board"_a, "process_index"_a, "epoch"_a, "frontend_index"_a, "arena"_a,
            "ring"_a, "wake_fd"_a, "attach"_a, "call_soon"_a, "call_later"_a,
            "regions"_a = nb::none(), "on_restarted"_a = nb::none(), "max_in_flight"_a = 0,
            "`regions` is the `RegionTable` of what clients registered; `on_restarted(model, "
            "correlation_id)`: a sequence was started before it had ended; `max_in_flight`: of "
            "all requests, at least half of what the ring holds; any model may have half of it.")
        .def(
            "make_port",
            [](Dispatcher& self, nb::object queue) {
                auto port = std::make_shared<QueuePort>();
                port->queue = &nb::cast<QueueObject&>(queue).queue;
                port->counters = &port->queue->frontend_counters(self.ring_index());
                port->latencies = port->queue->latencies();
                // A predecessor may have left its own there.
                port->counters->unpushed.store(0, std::memory_order_relaxed);
                port->owner = std::move(queue);
                return PortObject{std::move(port)};
            },
            "queue"_a, "Port to a model queue (`ModelQueue`).")
        .def(
            "update",
            [](Dispatcher& self, std::string name, const nb::dict& versions) {
                StringMap<RouteRef> routes;
                for (auto [version, route] : versions) {
                    routes.emplace(nb::cast<std::string>(version),
                                   nb::cast<const RouteObject&>(route).route);
                }
                self.update(std::move(name), std::move(routes));
            },
            "name"_a, "versions"_a, "Routes of one model; \"\" is the default version.")
        .def(
            "remove", [](Dispatcher& self, const std::string& name) { self.remove(name); },
            "name"_a)
        .def("flush", &Dispatcher::flush, "Push what was submitted in this turn.")
        .def("on_wake", &Dispatcher::on_wake, "The eventfd is readable: take answers.")
        .def("open_sockets", &Dispatcher::open_sockets,
             "Read clients' sockets and the eventfd natively; return the descriptor at which the "
             "loop calls `turn` when it is readable. Raise `OSError`.")
        .def(
            "turn", [](Dispatcher& self) { self.sockets()->turn(); },
            "What `open_sockets` returned is readable: read, push, and take answers.")
        .def(
            "submit",
            [](Dispatcher& self, const RouteObject& route, nb::object inputs, nb::object outputs,
               const std::optional<std::string>& request_id, const std::string& parameters_json,
               std::uint32_t flags, std::uint64_t sequence_id, const std::string& sequence_text,
               std::uint64_t priority, std::uint64_t timeout_us, std::uint64_t deadline_ns,
               const std::string& trace_context, const nb::bytes& headers, nb::object callback) {
                if (!self.has_room(*route.route)) {
                    count_refusal(*route.route);
                    raise("QueueFull", queue_full_text(request_id.value_or("")));
                }
                auto submission =
                    write_request(self, route.route, inputs, outputs, request_id, parameters_json,
                                  flags, sequence_id, sequence_text, priority, timeout_us,
                                  deadline_ns, trace_context, {headers.c_str(), headers.size()});
                auto* sink = new CallbackSink(std::move(callback));
                auto owner = nb::cast(sink, nb::rv_policy::take_ownership);
                return self.submit(std::move(submission), sink, std::move(owner), 0);
            },
            "route"_a, "inputs"_a, nb::kw_only(), "outputs"_a = nb::tuple(),
            "request_id"_a = nb::none(), "parameters_json"_a = "", "flags"_a = 0,
            "sequence_id"_a = 0, "sequence_text"_a = "", "priority"_a = 0, "timeout_us"_a = 0,
            "deadline_ns"_a = 0, "trace_context"_a = "", "headers"_a = nb::bytes("", 0),
            "callback"_a,
            "Submit a request; return its token. `inputs`: (name, datatype, shape, data"
            "[, parameters_json[, region]]) each; `outputs`: (name, flags, classification, "
            "parameters_json[, region]) each; a region is (id, offset, bytes) in a client's shared "
            "memory, or None; what waits past `deadline_ns` of the monotonic clock is not "
            "executed; `headers`: name, NUL, value, NUL each; "
            "`callback(Answer)` is called once, unless the request is cancelled.")
        .def(
            "send_input",
            [](Dispatcher& self, const RouteObject& route, std::uint64_t token, nb::object inputs,
               nb::object outputs, const std::optional<std::string>& request_id,
               const std::string& parameters_json, const nb::bytes& headers) {
                return self.send_input(
                    token,
                    write_request(self, route.route, inputs, outputs, request_id, parameters_json,
                                  0, 0, {}, 0, 0, 0, {}, {headers.c_str(), headers.size()})
                        .block);
            },
            "route"_a, "token"_a, "inputs"_a, nb::kw_only(), "outputs"_a = nb::tuple(),
            "request_id"_a = nb::none(), "parameters_json"_a = "", "headers"_a = nb::bytes("", 0),
            "Send a stream its next request, as `submit` takes it; false when it has ended.")
        .def("end_inputs", &Dispatcher::end_inputs, "token"_a,
             "Tell a stream that wants a request that there is none.")
        .def("cancel", &Dispatcher::forget, "token"_a,
             "Drop the answer of a request; take it back when it still waits.")
        .def(
            "count",
            [](Dispatcher& self, const RouteObject& route, std::uint32_t code,
               std::uint64_t taken_ns, std::uint32_t rows) {
                count_own(*route.route->port, self.ring_index(), static_cast<Status>(code),
                          taken_ns, rows);
            },
            "route"_a, "code"_a, "taken_ns"_a, "rows"_a,
            "Count a request of an ensemble, which this process answers itself.")
        .def(
            "count_first_response",
            [](Dispatcher&, const RouteObject& route, std::uint64_t taken_ns) {
                auto* latencies = route.route->port->latencies;
                if (latencies != nullptr && latencies->first_bounds != 0)
                    latencies->observe_first(taken_ns);
            },
            "route"_a, "taken_ns"_a, "How long the first response of an ensemble's request took.")
        .def(
            "trace_by",
            [](Dispatcher& self, nb::object board, const nb::dict& gates) {
                StringMap<TraceGate> models;
                StringMap<bool> untraced;
                std::optional<TraceGate> general;
                for (auto [key, value] : gates) {
                    auto name = nb::cast<std::string>(key);
                    if (value.is_none()) {
                        untraced.emplace(std::move(name), true);
                        continue;
                    }
                    const TraceGate gate{.slot = nb::cast<std::uint32_t>(value[0]),
                                         .rate = nb::cast<std::uint32_t>(value[1]),
                                         .limit = nb::cast<std::int64_t>(value[2]),
                                         .takes_contexts = nb::cast<bool>(value[3])};
                    if (name.empty()) {
                        general = gate;
                    } else {
                        models.emplace(std::move(name), gate);
                    }
                }
                self.traces().set(std::move(board), general ? &*general : nullptr,
                                  std::move(models), std::move(untraced));
            },
            "board"_a, "gates"_a,
            "Trace from now on as these say, by model, \"\" for the others: (slot, rate, limit, "
            "takes_contexts), or None for a model that is not traced.")
        .def(
            "take_trace",
            [](Dispatcher& self, const std::string& model, bool has_context) {
                return self.traces().take(model, has_context);
            },
            "model"_a, "has_context"_a, "Whether the request that is submitted next is traced.")
        .def("count_traffic", &Dispatcher::count_traffic, "traffic"_a,
             "Count what clients ask, from now on; before anything is made that takes requests.")
        .def_prop_ro(
            "traffic", [](const Dispatcher& self) { return self.traffic_owner(); },
            nb::sig("def traffic(self) -> Traffic | None"), "What counts it.")
        .def_prop_ro(
            "traces", [](Dispatcher& self) { return self.traces().is_on(); },
            "Some requests are traced.")
        .def_prop_ro("takes_headers", &Dispatcher::takes_headers,
                     "Some model wants the headers of its requests.")
        .def("trim", &Dispatcher::trim, "Give unused shared memory back.")
        .def_prop_ro("has_unpushed", &Dispatcher::has_unpushed,
                     "Requests wait for room in a queue, or for `flush`.")
        .def_prop_ro("in_flight", &Dispatcher::in_flight);
    m.attr("SEQUENCE_START") = kSequenceStart;
    m.attr("SEQUENCE_END") = kSequenceEnd;
    m.attr("BINARY_OUTPUTS_BY_DEFAULT") = kBinaryOutputsByDefault;
    m.attr("TAKES_MANY") = kTakesMany;
    m.attr("HANDLER_CALL") = kHandlerCall;
    m.attr("MORE_INPUTS") = kMoreInputs;
    m.attr("OUTPUT_BINARY") = kOutputBinary;
    m.attr("OUTPUT_BINARY_SET") = kOutputBinarySet;
}

}  // namespace mpserve::bind
