#include "http_connection.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

int connection_get_buffer(PyObject* self, Py_buffer* view, int flags) {
    std::size_t bytes = 0;
    auto* place = nb::inst_ptr<HttpConnection>(self)->read_target(bytes);
    return PyBuffer_FillInfo(view, self, place, static_cast<Py_ssize_t>(bytes), 0, flags);
}

PyType_Slot connection_slots[] = {{Py_bf_getbuffer, reinterpret_cast<void*>(connection_get_buffer)},
                                  {0, nullptr}};

}  // namespace

void bind_http_connection(nb::module_& m) {
    nb::class_<HttpConnection>(m, "HttpConnection", nb::type_slots(connection_slots),
                               "One client connection: an asyncio.BufferedProtocol.")
        .def(nb::init<nb::object>(), nb::arg("config"))
        .def(
            "connection_made",
            [](nb::handle_t<HttpConnection> self, nb::object transport) {
                auto* connection = nb::inst_ptr<HttpConnection>(self);
                connection->set_self(self);
                connection->connection_made(std::move(transport));
            },
            nb::arg("transport"))
        .def(
            "connection_lost", [](HttpConnection& self, nb::handle) { self.connection_lost(); },
            nb::arg("exc").none())
        // The object is its own buffer: no memoryview for each read.
        .def(
            "get_buffer",
            [](nb::handle_t<HttpConnection> self, nb::handle) { return nb::borrow(self); },
            nb::arg("sizehint"))
        // Under TLS, uvloop asks for the room of what it was given.
        .def("__len__",
             [](HttpConnection& self) {
                 std::size_t bytes = 0;
                 self.read_target(bytes);
                 return bytes;
             })
        .def("buffer_updated", &HttpConnection::came_by_transport, nb::arg("nbytes"))
        .def("eof_received", &HttpConnection::eof_received)
        .def("pause_writing", &HttpConnection::pause_writing)
        .def("resume_writing", &HttpConnection::resume_writing);
}

}  // namespace mpserve::bind
