#include "grpc_call.hpp"
#include "grpc_connection.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace mpserve::bind {

namespace {

int connection_get_buffer(PyObject* self, Py_buffer* view, int flags) {
    std::size_t bytes = 0;
    auto* place = nb::inst_ptr<GrpcConnection>(self)->read_target(bytes);
    return PyBuffer_FillInfo(view, self, place, static_cast<Py_ssize_t>(bytes), 0, flags);
}

PyType_Slot connection_slots[] = {{Py_bf_getbuffer, reinterpret_cast<void*>(connection_get_buffer)},
                                  {0, nullptr}};

GrpcConnection& connection_of(const GrpcCall& call) noexcept {
    return *nb::inst_ptr<GrpcConnection>(call.connection);
}

}  // namespace

void bind_grpc_connection(nb::module_& m) {
    nb::class_<GrpcConnection>(m, "GrpcConnection", nb::type_slots(connection_slots),
                               "One client's gRPC connection: an asyncio.BufferedProtocol.")
        .def(nb::init<nb::object>(), "config"_a)
        .def(
            "connection_made",
            [](nb::handle_t<GrpcConnection> self, nb::object transport) {
                auto* connection = nb::inst_ptr<GrpcConnection>(self);
                connection->set_self(self);
                connection->connection_made(std::move(transport));
            },
            "transport"_a)
        .def(
            "connection_lost", [](GrpcConnection& self, nb::handle) { self.connection_lost(); },
            "exc"_a.none())
        // The object is its own buffer: no memoryview for each read.
        .def(
            "get_buffer",
            [](nb::handle_t<GrpcConnection> self, nb::handle) { return nb::borrow(self); },
            "sizehint"_a)
        // Under TLS, uvloop asks for the room of what it was given.
        .def("__len__",
             [](GrpcConnection& self) {
                 std::size_t bytes = 0;
                 self.read_target(bytes);
                 return bytes;
             })
        .def("buffer_updated", &GrpcConnection::came_by_transport, "nbytes"_a)
        .def("eof_received", [](GrpcConnection&) { return false; })
        .def("pause_writing", &GrpcConnection::pause_writing)
        .def("resume_writing", &GrpcConnection::resume_writing);
}

void bind_grpc_call(nb::module_& m) {
    nb::class_<GrpcCall>(m, "GrpcCall", "One gRPC call that Python answers.")
        .def(
            "finish",
            [](const GrpcCall& self, nb::object result) {
                connection_of(self).finish(self.id, result);
            },
            "result"_a, "Answer with an encoded message, or with a status that is not OK.")
        .def(
            "send",
            [](const GrpcCall& self, nb::object message) {
                connection_of(self).send(self.id, message);
            },
            "message"_a, "Send one encoded message of a stream.")
        .def(
            "end",
            [](const GrpcCall& self, nb::object failure) {
                connection_of(self).end(self.id, failure);
            },
            "failure"_a.none(), "End a stream, with OK for None.")
        .def(
            "read_on", [](const GrpcCall& self) { connection_of(self).read_on(self.id); },
            "Ask `StreamInput.has_room` again.")
        .def(
            "set_trailers",
            [](const GrpcCall& self, const nb::bytes& headers) {
                connection_of(self).set_trailers(self.id, {headers.c_str(), headers.size()});
            },
            "headers"_a, "Metadata behind the answer, as `grpc_pairs_of` gives it.")
        .def(
            "metadata", [](const GrpcCall& self) { return connection_of(self).metadata(self.id); },
            nb::sig("def metadata(self) -> dict[str, str]"),
            "What the client sent, by lower-case name; of repeated ones the last.")
        .def_prop_ro(
            "writable",
            [](const GrpcCall& self) { return connection_of(self).is_writable(self.id); },
            "What is sent now leaves before long.")
        .def(
            "on_writable",
            [](const GrpcCall& self, nb::object callback) {
                connection_of(self).set_on_writable(self.id, std::move(callback));
            },
            "callback"_a, "Call `callback()` once, when the call has become writable.")
        .def_prop_ro(
            "received_ns",
            [](const GrpcCall& self) { return connection_of(self).begun_ns(self.id); },
            "When its head came (monotonic clock).")
        .def_prop_ro(
            "deadline_ns",
            [](const GrpcCall& self) { return connection_of(self).deadline_ns(self.id); },
            "Until when its client waits (monotonic clock); 0: for ever.")
        .def(
            "on_client_gone",
            [](const GrpcCall& self, nb::object callback) {
                connection_of(self).set_on_client_gone(self.id, std::move(callback));
            },
            "callback"_a,
            "Call `callback()` when the client cancels, or its deadline passes, before the "
            "answer.");
}

}  // namespace mpserve::bind
