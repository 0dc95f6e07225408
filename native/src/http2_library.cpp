#include "mpserve/http2_library.hpp"

#include <dlfcn.h>

namespace mpserve::http2 {

namespace {

// Finds the functions of one library by name.
class Finder {
public:
    explicit Finder(void* handle) noexcept : handle_(handle) {}

    template <typename Function>
    void optional(const char* name, Function*& out) {
        out = reinterpret_cast<Function*>(dlsym(handle_, name));
    }
    template <typename Function>
    void required(const char* name, Function*& out) {
        optional(name, out);
        if (out == nullptr && missing_.empty()) missing_ = name;
    }
    const std::string& missing() const noexcept { return missing_; }

private:
    void* handle_;
    std::string missing_;
};

}  // namespace

std::unique_ptr<const Library> load_library(const char* file, std::string& reason) {
    // Never closed: sessions may outlive whoever asked for it.
    void* handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
        const char* fault = dlerror();
        reason = fault != nullptr ? fault : file;
        return nullptr;
    }
    auto library = std::make_unique<Library>();
    Finder finder(handle);
#define MPSERVE_FIND(name) finder.required("nghttp2_" #name, library->name)
    MPSERVE_FIND(session_callbacks_new);
    MPSERVE_FIND(session_callbacks_del);
    MPSERVE_FIND(session_callbacks_set_on_begin_frame_callback);
    MPSERVE_FIND(session_callbacks_set_on_begin_headers_callback);
    MPSERVE_FIND(session_callbacks_set_on_header_callback);
    MPSERVE_FIND(session_callbacks_set_on_data_chunk_recv_callback);
    MPSERVE_FIND(session_callbacks_set_on_frame_recv_callback);
    MPSERVE_FIND(session_callbacks_set_on_frame_send_callback);
    MPSERVE_FIND(session_callbacks_set_on_stream_close_callback);
    MPSERVE_FIND(session_callbacks_set_send_data_callback);
    MPSERVE_FIND(session_callbacks_set_data_source_read_length_callback);
    MPSERVE_FIND(option_new);
    MPSERVE_FIND(option_del);
    MPSERVE_FIND(option_set_no_auto_window_update);
    MPSERVE_FIND(option_set_max_outbound_ack);
    MPSERVE_FIND(option_set_max_settings);
    MPSERVE_FIND(option_set_no_closed_streams);
    MPSERVE_FIND(session_server_new2);
    MPSERVE_FIND(session_del);
    MPSERVE_FIND(session_mem_recv);
    MPSERVE_FIND(session_mem_send);
    MPSERVE_FIND(session_want_read);
    MPSERVE_FIND(session_want_write);
    MPSERVE_FIND(session_consume);
    MPSERVE_FIND(session_set_local_window_size);
    MPSERVE_FIND(session_set_stream_user_data);
    MPSERVE_FIND(session_get_stream_user_data);
    MPSERVE_FIND(session_get_stream_remote_close);
    MPSERVE_FIND(session_get_last_proc_stream_id);
    MPSERVE_FIND(session_resume_data);
    MPSERVE_FIND(session_terminate_session);
    MPSERVE_FIND(submit_settings);
    MPSERVE_FIND(submit_response);
    MPSERVE_FIND(submit_trailer);
    MPSERVE_FIND(submit_rst_stream);
    MPSERVE_FIND(submit_ping);
    MPSERVE_FIND(submit_goaway);
    MPSERVE_FIND(submit_shutdown_notice);
    MPSERVE_FIND(strerror);
#undef MPSERVE_FIND
    finder.optional("nghttp2_option_set_stream_reset_rate_limit",
                    library->option_set_stream_reset_rate_limit);
    finder.optional("nghttp2_option_set_max_continuations", library->option_set_max_continuations);
    if (finder.missing().empty()) return library;
    reason = std::string(file) + " is too old: it has no " + finder.missing();
    return nullptr;
}

}  // namespace mpserve::http2
