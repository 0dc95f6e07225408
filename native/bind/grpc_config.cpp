#include "grpc_config.hpp"

#include <algorithm>

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "client_limits.hpp"
#include "grpc_connection.hpp"
#include "mpserve/wake.hpp"
#include "proto_infer.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace mpserve::bind {

namespace {

constexpr std::size_t kReadScratch = 256 * 1024;
constexpr std::size_t kUnusedStreams = 256;
constexpr std::size_t kKeepBytes = 64 * 1024;      // of a stream's memory that is used again
constexpr std::uint64_t kLookEveryNs = 1'000'000;  // at most
constexpr std::size_t kMaxOutboundAcks = 1000;     // unsent answers to pings and settings
constexpr std::size_t kMaxSettings = 32;           // in one frame
constexpr std::size_t kMaxContinuations = 16;      // of one head
constexpr std::uint64_t kMilli = 1'000'000;

void shrink(ByteBuffer& buffer) {
    buffer.clear();
    if (buffer.capacity() > kKeepBytes) buffer = ByteBuffer();
}

GrpcConnection& connection_of(void* user) noexcept { return *static_cast<GrpcConnection*>(user); }

// What the library calls is C: nothing may be thrown through it.
template <typename Function>
auto shielded(Function function) noexcept -> decltype(function()) {
    try {
        return function();
    } catch (...) {
        return http2::kErrorCallback;
    }
}

int on_begin_frame(http2::Session*, const http2::FrameHead* head, void* user) {
    return shielded([&] { return connection_of(user).on_begin_frame(*head); });
}

int on_begin_headers(http2::Session*, const http2::FrameHead* head, void* user) {
    return shielded([&] { return connection_of(user).on_begin_headers(*head); });
}

int on_field(http2::Session*, const http2::FrameHead* head, const std::uint8_t* name,
             std::size_t name_bytes, const std::uint8_t* value, std::size_t value_bytes,
             std::uint8_t, void* user) {
    return shielded([&] {
        return connection_of(user).on_field(*head,
                                            {reinterpret_cast<const char*>(name), name_bytes},
                                            {reinterpret_cast<const char*>(value), value_bytes});
    });
}

int on_data(http2::Session*, std::uint8_t, std::int32_t id, const std::uint8_t* data,
            std::size_t bytes, void* user) {
    return shielded([&] {
        return connection_of(user).on_data(id, {reinterpret_cast<const char*>(data), bytes});
    });
}

int on_frame(http2::Session*, const http2::FrameHead* head, void* user) {
    return shielded([&] { return connection_of(user).on_frame(*head); });
}

int on_frame_sent(http2::Session*, const http2::FrameHead* head, void* user) {
    return shielded([&] { return connection_of(user).on_frame_sent(*head); });
}

int on_stream_close(http2::Session*, std::int32_t id, std::uint32_t, void* user) {
    return shielded([&] { return connection_of(user).on_stream_close(id); });
}

int send_data(http2::Session*, http2::FrameHead*, const std::uint8_t* frame_head, std::size_t bytes,
              http2::DataSource* source, void* user) {
    return shielded([&] {
        return connection_of(user).send_piece(*static_cast<GrpcStream*>(source->pointer),
                                              frame_head, bytes);
    });
}

ssize_t read_length(http2::Session*, std::uint8_t, std::int32_t id, std::int32_t session_window,
                    std::int32_t stream_window, std::uint32_t max_frame_bytes, void* user) {
    const auto window = std::min({static_cast<std::size_t>(std::max(session_window, 1)),
                                  static_cast<std::size_t>(std::max(stream_window, 1)),
                                  static_cast<std::size_t>(max_frame_bytes)});
    return static_cast<ssize_t>(connection_of(user).frame_bytes(id, window));
}

std::uint64_t milliseconds(std::int64_t number) noexcept {
    return number <= 0 ? 0 : static_cast<std::uint64_t>(number) * kMilli;
}

GrpcTimes read_times(nb::handle settings) {
    const auto number = [settings](const char* name) {
        return nb::cast<std::int64_t>(settings.attr(name));
    };
    const auto count = [number](const char* name) {
        return static_cast<std::uint32_t>(std::clamp<std::int64_t>(number(name), 0, UINT32_MAX));
    };
    GrpcTimes times;
    times.keepalive_ns = milliseconds(number("keepalive_time_ms"));
    times.keepalive_timeout_ns = milliseconds(number("keepalive_timeout_ms"));
    times.max_age_ns = milliseconds(number("max_connection_age_ms"));
    times.max_age_grace_ns = milliseconds(number("max_connection_age_grace_ms"));
    times.max_pings_without_data = count("http2_max_pings_without_data");
    times.keepalive_without_calls = nb::cast<bool>(settings.attr("keepalive_permit_without_calls"));
    times.strikes = {.min_interval_ns = milliseconds(number("http2_min_ping_interval_ms")),
                     .max_strikes = count("http2_max_ping_strikes"),
                     .permit_without_calls = times.keepalive_without_calls};
    return times;
}

nb::dict counts_of(const GrpcConfig& config) {
    nb::dict counts;
    counts["native"] = config.calls_native;
    counts["fixed"] = config.calls_fixed;
    counts["python"] = config.calls_python;
    return counts;
}

void drain(GrpcConfig& config) {
    config.draining = true;
    const std::vector<GrpcConnection*> all(config.connections.begin(), config.connections.end());
    for (auto* connection : all) {
        if (config.connections.contains(connection)) connection->drain();
    }
}

void abort_all(GrpcConfig& config) {
    const std::vector<GrpcConnection*> all(config.connections.begin(), config.connections.end());
    for (auto* connection : all) {
        if (config.connections.contains(connection)) connection->abort();
    }
}

void add_method(GrpcConfig& config, const std::string& path, nb::object handler, bool streams,
                bool guarded, bool infers, bool wants_metadata, std::uint32_t kind) {
    auto method = std::make_unique<GrpcMethod>();
    method->path = path;
    method->handler = std::move(handler);
    method->streams = streams;
    method->guarded = guarded;
    method->infers = infers && config.infer != nullptr;
    method->wants_metadata = wants_metadata || guarded;
    method->kind = static_cast<TrafficKind>(kind);
    auto& traffic = config.dispatcher->traffic();
    if (traffic.is_on()) method->place = traffic.place(method->kind, path);
    config.methods.insert_or_assign(path, std::move(method));
}

void set_fixed(GrpcConfig& config, const std::string& path, nb::bytes message) {
    const auto found = config.methods.find(path);
    if (found == config.methods.end()) throw nb::value_error("path: no such method");
    const auto bytes = static_cast<std::uint32_t>(message.size());
    std::string framed(kGrpcPrefixBytes, '\0');
    for (std::size_t index = 1; index < kGrpcPrefixBytes; ++index) {
        framed[index] = static_cast<char>(bytes >> 8 * (kGrpcPrefixBytes - 1 - index));
    }
    framed.append(message.c_str(), message.size());
    found->second->fixed = std::move(framed);
    found->second->has_fixed = true;
}

}  // namespace

void GrpcStream::reset() {
    shrink(metadata);
    shrink(out);
    waiting.clear();
    segments.clear();
    reader.reset(0);
    GrpcStream fresh;
    std::swap(fresh.metadata, metadata);
    std::swap(fresh.out, out);
    std::swap(fresh.waiting, waiting);
    std::swap(fresh.segments, segments);
    std::swap(fresh.reader, reader);
    *this = std::move(fresh);
}

GrpcConfig::~GrpcConfig() {
    if (library == nullptr) return;
    if (callbacks != nullptr) library->session_callbacks_del(callbacks);
    if (option != nullptr) library->option_del(option);
}

void GrpcConfig::prepare() {
    if (library->session_callbacks_new(&callbacks) != 0 || library->option_new(&option) != 0) {
        throw std::bad_alloc();
    }
    library->session_callbacks_set_on_begin_frame_callback(callbacks, bind::on_begin_frame);
    library->session_callbacks_set_on_begin_headers_callback(callbacks, bind::on_begin_headers);
    library->session_callbacks_set_on_header_callback(callbacks, bind::on_field);
    library->session_callbacks_set_on_data_chunk_recv_callback(callbacks, bind::on_data);
    library->session_callbacks_set_on_frame_recv_callback(callbacks, bind::on_frame);
    library->session_callbacks_set_on_frame_send_callback(callbacks, bind::on_frame_sent);
    library->session_callbacks_set_on_stream_close_callback(callbacks, bind::on_stream_close);
    library->session_callbacks_set_send_data_callback(callbacks, bind::send_data);
    library->session_callbacks_set_data_source_read_length_callback(callbacks, bind::read_length);
    library->option_set_no_auto_window_update(option, 1);
    library->option_set_max_outbound_ack(option, kMaxOutboundAcks);
    library->option_set_max_settings(option, kMaxSettings);
    library->option_set_no_closed_streams(option, 1);
    if (library->option_set_stream_reset_rate_limit != nullptr) {
        library->option_set_stream_reset_rate_limit(option, FrameBudget::kBurst,
                                                    FrameBudget::kPerSecond);
    }
    if (library->option_set_max_continuations != nullptr) {
        library->option_set_max_continuations(option, kMaxContinuations);
    }
    scratch.resize(kReadScratch);
}

void GrpcConfig::want_look(std::uint64_t at_ns) {
    if (at_ns == 0 || (look_at_ns != 0 && look_at_ns <= at_ns)) return;
    const auto now = now_ns();
    look_at_ns = std::max(at_ns, now + kLookEveryNs);
    if (look_timer.is_valid()) look_timer.attr("cancel")();
    look_timer = call_later(static_cast<double>(look_at_ns - now) / 1e9, look_callable);
}

void GrpcConfig::look() {
    look_at_ns = 0;
    look_timer.reset();
    const auto now = now_ns();
    std::uint64_t next = 0;
    const std::vector<GrpcConnection*> all(connections.begin(), connections.end());
    for (auto* connection : all) {
        if (!connections.contains(connection)) continue;
        const auto due = connection->look(now);
        if (due != 0 && (next == 0 || due < next)) next = due;
    }
    want_look(next);
}

std::unique_ptr<GrpcStream> GrpcConfig::take_stream() {
    if (unused.empty()) return std::make_unique<GrpcStream>();
    auto stream = std::move(unused.back());
    unused.pop_back();
    return stream;
}

void GrpcConfig::give_back(std::unique_ptr<GrpcStream> stream) {
    if (unused.size() >= kUnusedStreams) return;
    stream->reset();
    unused.push_back(std::move(stream));
}

void GrpcConfig::forget(GrpcConnection* connection) {
    if (connections.erase(connection) == 0 || !connections.empty()) return;
    if (draining && on_empty.is_valid()) on_empty();
}

void bind_grpc_config(nb::module_& m) {
    m.def(
        "http2_library_fault",
        []() -> std::string {
            std::string reason;
            return http2::load_library(http2::kLibraryFile, reason) != nullptr ? "" : reason;
        },
        "Why the HTTP/2 library can not be used here; \"\" when it can.");
    nb::class_<GrpcConfig> config(m, "GrpcServerConfig",
                                  "What all gRPC connections of a frontend share.");
    config
        .def(
            "__init__",
            [](GrpcConfig* self, nb::object dispatcher, nb::object infer, nb::object settings,
               const std::vector<std::uint32_t>& statuses, const std::vector<std::uint8_t>& codings,
               nb::object refusal, nb::object inflate, nb::object deflate, nb::object on_crash,
               nb::object call_later, nb::object on_empty) {
                if (statuses.size() != kStatusCount) {
                    throw nb::value_error("statuses: one for each ErrorCode");
                }
                std::string reason;
                auto library = http2::load_library(http2::kLibraryFile, reason);
                if (library == nullptr) throw nb::value_error(reason.c_str());
                new (self) GrpcConfig();
                self->library = std::move(library);
                self->prepare();
                self->dispatcher = &nb::cast<Dispatcher&>(dispatcher);
                self->dispatcher_owner = std::move(dispatcher);
                if (!infer.is_none()) self->infer = &nb::cast<ProtoInfer&>(infer);
                self->infer_owner = std::move(infer);
                self->times = read_times(settings);
                self->max_message_bytes =
                    nb::cast<std::uint64_t>(settings.attr("max_message_bytes"));
                std::copy(statuses.begin(), statuses.end(), self->status_codes.begin());
                for (std::size_t index = 0; index < codings.size() && index < 2; ++index) {
                    self->compression[index] = static_cast<GrpcEncoding>(codings[index]);
                }
                self->refusal = std::move(refusal);
                self->inflate = std::move(inflate);
                self->deflate = std::move(deflate);
                self->on_crash = std::move(on_crash);
                self->call_later = std::move(call_later);
                self->on_empty = std::move(on_empty);
                self->look_callable = nb::cpp_function([self] { self->look(); });
            },
            nb::kw_only(), "dispatcher"_a, "infer"_a.none(), "settings"_a, "statuses"_a,
            "codings"_a, "refusal"_a.none(), "inflate"_a, "deflate"_a, "on_crash"_a, "call_later"_a,
            "on_empty"_a,
            "`infer` is a `ProtoInfer` or None; `settings` are `GrpcSettings`; `codings` say how "
            "answers are compressed, best first.")
        .def("add_method", &add_method, "path"_a, "handler"_a, nb::kw_only(), "streams"_a,
             "guarded"_a, "infers"_a, "wants_metadata"_a, "kind"_a,
             "`handler(message, call)`, or of a stream `handler(call, metadata)`, which returns "
             "what is told of the client. `kind`: as the `Traffic` counts calls.")
        .def("set_fixed", &set_fixed, "path"_a, "answer"_a,
             "Encoded answer to empty requests of a method, from now on.")
        .def("drain", &drain, "Take no new calls; close each connection after its last one.")
        .def("abort", &abort_all, "Close all connections now.")
        .def_prop_ro("connections", [](const GrpcConfig& self) { return self.connections.size(); })
        .def_prop_ro(
            "handshakes", [](const GrpcConfig& self) { return self.handshakes; },
            "Connections whose TLS handshake is under way.")
        .def("counts", &counts_of, "Calls answered natively, by a fixed answer, and by Python.");
    bind_client_limits(config, &look_at_pace);
}

}  // namespace mpserve::bind
