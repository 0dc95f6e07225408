// libnghttp2 as it is found at run time: frames, HPACK and flow control of HTTP/2.
//
// Only what is used here is declared; names are the library's without their prefix, and layouts are
// those of its stable C interface (soname 14). So neither its headers nor its presence are needed
// to build, and a machine without it serves gRPC in another way.
//
// Guarantees: a library that was loaded has every function of the table but those marked optional,
//   and stays loaded until the process ends.
// Source: nghttp2's API reference; docs/adr/0010-native-grpc.md.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace mpserve::http2 {

struct Session;
struct Callbacks;
struct Option;

inline constexpr int kErrorDeferred = -508;
inline constexpr int kErrorPause = -526;
inline constexpr int kErrorCallback = -902;
inline constexpr int kErrorBadMagic = -903;
inline constexpr int kErrorFlooded = -904;
inline constexpr int kErrorContinuations = -905;

enum FrameType : std::uint8_t {
    kData = 0,
    kHeaders = 1,
    kPriority = 2,
    kRstStream = 3,
    kSettings = 4,
    kPing = 6,
    kGoaway = 7,
    kWindowUpdate = 8,
    kContinuation = 9
};
inline constexpr std::uint8_t kFlagEndStream = 1;
inline constexpr std::uint8_t kFlagAck = 1;
inline constexpr std::uint32_t kDataEof = 1;
inline constexpr std::uint32_t kDataNoEndStream = 2;
inline constexpr std::uint32_t kDataNoCopy = 4;
inline constexpr std::uint8_t kNoCopyBoth = 2 | 4;  // of a header field: name and value are static

enum class Code : std::uint32_t {
    no_error = 0,
    protocol_error = 1,
    internal_error = 2,
    refused_stream = 7,
    cancel = 8,
    enhance_your_calm = 11
};

enum SettingId : std::int32_t {
    kMaxConcurrentStreams = 3,
    kInitialWindowSize = 4,
    kMaxFrameSize = 5,
    kMaxHeaderListSize = 6
};
struct Setting {
    std::int32_t id;
    std::uint32_t value;
};

struct Field {
    const char* name;
    const char* value;
    std::size_t name_bytes;
    std::size_t value_bytes;
    std::uint8_t flags;
};

// The head that all frames begin with; what follows depends on the type.
struct FrameHead {
    std::size_t length;
    std::int32_t stream_id;
    std::uint8_t type;
    std::uint8_t flags;
    std::uint8_t reserved;
};
struct PingFrame {
    FrameHead head;
    std::uint8_t opaque[8];
};

union DataSource {
    int fd;
    void* pointer;
};
using ReadData = ssize_t (*)(Session*, std::int32_t stream_id, std::uint8_t* out, std::size_t bytes,
                             std::uint32_t* flags, DataSource*, void* user);
struct DataProvider {
    DataSource source;
    ReadData read;
};

using OnHead = int (*)(Session*, const FrameHead*, void* user);
using OnField = int (*)(Session*, const FrameHead*, const std::uint8_t* name,
                        std::size_t name_bytes, const std::uint8_t* value, std::size_t value_bytes,
                        std::uint8_t flags, void* user);
using OnData = int (*)(Session*, std::uint8_t flags, std::int32_t stream_id,
                       const std::uint8_t* data, std::size_t bytes, void* user);
using OnStreamClose = int (*)(Session*, std::int32_t stream_id, std::uint32_t code, void* user);
using SendData = int (*)(Session*, FrameHead*, const std::uint8_t* frame_head, std::size_t bytes,
                         DataSource*, void* user);
using ReadLength = ssize_t (*)(Session*, std::uint8_t type, std::int32_t stream_id,
                               std::int32_t session_window, std::int32_t stream_window,
                               std::uint32_t max_frame_bytes, void* user);

struct Library {
    int (*session_callbacks_new)(Callbacks**) = nullptr;
    void (*session_callbacks_del)(Callbacks*) = nullptr;
    void (*session_callbacks_set_on_begin_frame_callback)(Callbacks*, OnHead) = nullptr;
    void (*session_callbacks_set_on_begin_headers_callback)(Callbacks*, OnHead) = nullptr;
    void (*session_callbacks_set_on_header_callback)(Callbacks*, OnField) = nullptr;
    void (*session_callbacks_set_on_data_chunk_recv_callback)(Callbacks*, OnData) = nullptr;
    void (*session_callbacks_set_on_frame_recv_callback)(Callbacks*, OnHead) = nullptr;
    void (*session_callbacks_set_on_frame_send_callback)(Callbacks*, OnHead) = nullptr;
    void (*session_callbacks_set_on_stream_close_callback)(Callbacks*, OnStreamClose) = nullptr;
    void (*session_callbacks_set_send_data_callback)(Callbacks*, SendData) = nullptr;
    void (*session_callbacks_set_data_source_read_length_callback)(Callbacks*,
                                                                   ReadLength) = nullptr;
    int (*option_new)(Option**) = nullptr;
    void (*option_del)(Option*) = nullptr;
    void (*option_set_no_auto_window_update)(Option*, int) = nullptr;
    void (*option_set_max_outbound_ack)(Option*, std::size_t) = nullptr;
    void (*option_set_max_settings)(Option*, std::size_t) = nullptr;
    void (*option_set_no_closed_streams)(Option*, int) = nullptr;
    int (*session_server_new2)(Session**, const Callbacks*, void*, const Option*) = nullptr;
    void (*session_del)(Session*) = nullptr;
    ssize_t (*session_mem_recv)(Session*, const std::uint8_t*, std::size_t) = nullptr;
    ssize_t (*session_mem_send)(Session*, const std::uint8_t**) = nullptr;
    int (*session_want_read)(Session*) = nullptr;
    int (*session_want_write)(Session*) = nullptr;
    int (*session_consume)(Session*, std::int32_t, std::size_t) = nullptr;
    int (*session_set_local_window_size)(Session*, std::uint8_t, std::int32_t,
                                         std::int32_t) = nullptr;
    int (*session_set_stream_user_data)(Session*, std::int32_t, void*) = nullptr;
    void* (*session_get_stream_user_data)(Session*, std::int32_t) = nullptr;
    int (*session_get_stream_remote_close)(Session*, std::int32_t) = nullptr;
    std::int32_t (*session_get_last_proc_stream_id)(Session*) = nullptr;
    int (*session_resume_data)(Session*, std::int32_t) = nullptr;
    int (*session_terminate_session)(Session*, std::uint32_t) = nullptr;
    int (*submit_settings)(Session*, std::uint8_t, const Setting*, std::size_t) = nullptr;
    int (*submit_response)(Session*, std::int32_t, const Field*, std::size_t,
                           const DataProvider*) = nullptr;
    int (*submit_trailer)(Session*, std::int32_t, const Field*, std::size_t) = nullptr;
    int (*submit_rst_stream)(Session*, std::uint8_t, std::int32_t, std::uint32_t) = nullptr;
    int (*submit_ping)(Session*, std::uint8_t, const std::uint8_t*) = nullptr;
    int (*submit_goaway)(Session*, std::uint8_t, std::int32_t, std::uint32_t, const std::uint8_t*,
                         std::size_t) = nullptr;
    int (*submit_shutdown_notice)(Session*) = nullptr;
    const char* (*strerror)(int) = nullptr;
    // Optional: in releases that know these attacks.
    void (*option_set_stream_reset_rate_limit)(Option*, std::uint64_t burst,
                                               std::uint64_t rate) = nullptr;
    void (*option_set_max_continuations)(Option*, std::size_t) = nullptr;
};

inline constexpr const char* kLibraryFile = "libnghttp2.so.14";

// Loads the library; nothing, and why in `reason`, when it or a function of the table is not there.
std::unique_ptr<const Library> load_library(const char* file, std::string& reason);

}  // namespace mpserve::http2
