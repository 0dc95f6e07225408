#include "http_config.hpp"

#include <sys/random.h>

#include <algorithm>

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "client_limits.hpp"
#include "http_connection.hpp"
#include "mpserve/answer_events.hpp"
#include "mpserve/header_pairs.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace mpserve::bind {

namespace {

// What it does may close connections.
void for_all(HttpConfig& config, void (HttpConnection::*act)()) {
    const std::vector<HttpConnection*> all(config.connections.begin(), config.connections.end());
    for (auto* connection : all) {
        if (config.connections.contains(connection)) (connection->*act)();
    }
}

// xorshift128+; source: Vigna, "Further scramblings of Marsaglia's xorshift generators", 2017.
std::uint64_t next_random(std::uint64_t (&state)[2]) noexcept {
    if (state[0] == 0 && state[1] == 0 && getrandom(state, sizeof state, 0) != sizeof state) {
        state[1] = reinterpret_cast<std::uintptr_t>(&state) | 1;
    }
    auto first = state[0];
    const auto second = state[1];
    state[0] = second;
    first ^= first << 23;
    state[1] = first ^ second ^ (first >> 17) ^ (second >> 26);
    return state[1] + second;
}

void append_field(const HeaderPair& pair, std::string& out) {
    out.append("\r\n").append(pair.name).append(": ").append(pair.value);
}

// The server's own fields as they stand in a head.
std::string fields_of(const nb::bytes& pairs) {
    std::string fields;
    HeaderPairs all({pairs.c_str(), pairs.size()});
    while (const auto pair = all.next()) {
        if (fits_a_head(pair->value)) append_field(*pair, fields);
    }
    return fields;
}

std::uint32_t place_of(const HttpConfig& config, std::string_view route) {
    auto& traffic = config.dispatcher->traffic();
    return traffic.is_on() && !route.empty() ? traffic.place(TrafficKind::get, route) : kNoPlace;
}

nb::dict counts_of(const HttpConfig& config) {
    nb::dict counts;
    counts["native"] = config.requests_native;
    counts["static"] = config.requests_static;
    counts["python"] = config.requests_python;
    return counts;
}

}  // namespace

std::string make_request_id(HttpConfig& config) {
    constexpr std::string_view kHex = "0123456789abcdef";
    std::uint64_t bits[2] = {next_random(config.id_state), next_random(config.id_state)};
    bits[0] = (bits[0] & ~0xf000ULL) | 0x4000ULL;                         // version 4
    bits[1] = (bits[1] & 0x3fffffffffffffffULL) | 0x8000000000000000ULL;  // variant of RFC 9562
    std::string text;
    text.reserve(36);
    for (int nibble = 0; nibble < 32; ++nibble) {
        if (nibble == 8 || nibble == 12 || nibble == 16 || nibble == 20) text.push_back('-');
        const auto shift = 60 - 4 * (nibble % 16);
        text.push_back(kHex[(bits[nibble / 16] >> shift) & 15]);
    }
    return text;
}

void append_event_fields(const HttpConfig& config, std::string_view model_name, std::string_view id,
                         std::string& out) {
    out.append(config.event_fields);
    for (const auto& pair : own_events(model_name, id)) {
        if (fits_a_head(pair.value)) append_field(pair, out);
    }
}

void append_model_fields(const HttpConfig& config, std::string_view pairs, std::string& out) {
    HeaderPairs all(pairs);
    while (const auto pair = all.next()) {
        if (is_for_http(*pair, !config.event_fields.empty())) append_field(*pair, out);
    }
}

void bind_http_config(nb::module_& m) {
    nb::class_<HttpConfig> config(m, "HttpServerConfig",
                                  "What all HTTP connections of a frontend share.");
    config
        .def(
            "__init__",
            [](HttpConfig* self, nb::object dispatcher, nb::object on_exchange,
               nb::object on_protocol_error, std::uint64_t max_body_bytes,
               std::uint64_t max_binary_body_bytes, std::uint32_t max_header_bytes,
               std::uint32_t max_header_fields, std::uint32_t max_pipelined,
               const std::string& style, const std::vector<std::uint16_t>& http_statuses,
               const std::vector<std::uint16_t>& retry_after_s, bool native_inference,
               nb::bytes answer_events, nb::bytes request_events, bool reads_origin,
               bool compresses, std::string root_path) {
                if (http_statuses.size() != kStatusCount || retry_after_s.size() != kStatusCount) {
                    throw nb::value_error("http_statuses, retry_after_s: one for each ErrorCode");
                }
                if (style != "triton" && style != "mlserver") {
                    throw nb::value_error("style: 'triton' or 'mlserver'");
                }
                new (self) HttpConfig();
                self->dispatcher = &nb::cast<Dispatcher&>(dispatcher);
                self->dispatcher_owner = std::move(dispatcher);
                self->on_exchange = std::move(on_exchange);
                self->on_protocol_error = std::move(on_protocol_error);
                self->max_body_bytes = max_body_bytes;
                self->max_binary_body_bytes = max_binary_body_bytes;
                self->head_limits = {.max_head_bytes = max_header_bytes,
                                     .max_fields = max_header_fields};
                self->max_pipelined = max_pipelined;
                self->style = style == "triton" ? ResponseStyle::triton : ResponseStyle::mlserver;
                std::copy(http_statuses.begin(), http_statuses.end(), self->http_status.begin());
                std::copy(retry_after_s.begin(), retry_after_s.end(), self->retry_after_s.begin());
                self->native_inference = native_inference;
                self->event_fields = fields_of(answer_events);
                self->request_events.assign(request_events.c_str(), request_events.size());
                self->reads_origin = reads_origin;
                self->compresses = compresses;
                self->root_path = std::move(root_path);
            },
            nb::kw_only(), "dispatcher"_a, "on_exchange"_a, "on_protocol_error"_a,
            "max_body_bytes"_a, "max_binary_body_bytes"_a, "max_header_bytes"_a,
            "max_header_fields"_a, "max_pipelined"_a, "style"_a, "http_statuses"_a,
            "retry_after_s"_a, "native_inference"_a = true, "answer_events"_a = nb::bytes("", 0),
            "request_events"_a = nb::bytes("", 0), "reads_origin"_a = false, "compresses"_a = true,
            "root_path"_a = "")
        .def(
            "set_busy_answer",
            [](HttpConfig& self, nb::bytes answer) {
                self.busy_answer.assign(answer.c_str(), answer.size());
            },
            "answer"_a, "Whole answer to a connection that is one too many.")
        .def(
            "set_static",
            [](HttpConfig& self, const std::string& path, nb::bytes answer, std::uint16_t status,
               const std::string& route) {
                self.statics.insert_or_assign(
                    path, HttpConfig::Static{.bytes = std::string(answer.c_str(), answer.size()),
                                             .place = place_of(self, route),
                                             .status = status});
            },
            "path"_a, "answer"_a, "status"_a, "route"_a,
            "Whole answer (head and body) to GET of a path, from now on. It is counted at `route`, "
            "\"\" for nowhere.")
        .def(
            "count_inferences",
            [](HttpConfig& self, const std::string& route, const std::string& versioned_route) {
                self.infer_place = place_of(self, route);
                self.versioned_infer_place = place_of(self, versioned_route);
            },
            "route"_a, "versioned_route"_a,
            "Where inferences are counted that the core answers, and those that name a version.")
        .def(
            "clear_static",
            [](HttpConfig& self, const std::string& path) { self.statics.erase(path); }, "path"_a)
        .def(
            "drain",
            [](HttpConfig& self) {
                self.draining = true;
                for_all(self, &HttpConnection::drain);
            },
            "Make the answers that are waited for, and those of requests that still come, the "
            "last.")
        .def(
            "close_idle", [](HttpConfig& self) { for_all(self, &HttpConnection::close_idle); },
            "Close connections that rest between two requests; after `drain`.")
        .def(
            "close_untouched",
            [](HttpConfig& self) { for_all(self, &HttpConnection::close_untouched); },
            "Close connections on which nothing was ever received; after `drain`.")
        .def_prop_ro("connections", [](const HttpConfig& self) { return self.connections.size(); })
        .def_prop_ro(
            "handshakes", [](const HttpConfig& self) { return self.handshakes; },
            "Connections whose TLS handshake is under way.")
        .def("counts", &counts_of,
             "Requests answered natively, by a static answer, and by Python.");
    bind_client_limits(config, &look_at_pace);
}

}  // namespace mpserve::bind
