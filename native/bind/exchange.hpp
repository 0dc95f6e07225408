// One HTTP request that Python answers.
//
// It is answered at once (`respond`), or bit by bit (`start_stream`, `write_chunk`, `end_stream`):
// chunked, or for a client of HTTP/1.0 up to the end of the connection.
//
// Guarantees: the head and the body hold until the object ends; answering twice, or after the
//   client went, does nothing. Pieces leave in their order, after the answers to earlier requests.
// Owner: Python; it keeps the connection object alive.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nanobind/nanobind.h>

#include "http_config.hpp"
#include "mpserve/byte_buffer.hpp"

namespace mpserve::bind {

class HttpConnection;

class Exchange {
public:
    Exchange(nanobind::object client, std::uint64_t number, nanobind::object shared)
        : connection(std::move(client)), sequence(number), config(std::move(shared)) {}
    ~Exchange();
    Exchange(const Exchange&) = delete;
    Exchange& operator=(const Exchange&) = delete;

    nanobind::object connection;
    std::uint64_t sequence;
    nanobind::object config;  // HttpConfig: owner of the arena that `block` is of
    std::string method;
    std::string target;
    std::string raw_head;
    std::vector<HeaderField> fields;  // offsets in raw_head
    std::uint8_t minor_version = 1;
    BodyOutcome body_outcome = BodyOutcome::read;
    std::uint64_t content_length = 0;
    std::uint64_t received_ns = 0;  // its first byte, and
    std::uint64_t complete_ns = 0;  // its last one; 0: nothing is traced
    ByteBuffer owned_body;
    Block block;  // the body lies in it
    const char* body = nullptr;
    std::uint64_t body_bytes = 0;
    std::uint32_t place = kNoPlace;  // where it is counted
    std::string more_fields;         // of the answer's head, whatever the answer is
    bool answered = false;           // the head is on its way
    bool streaming = false;
    bool client_gone = false;
    nanobind::object on_client_gone;
    nanobind::object on_writable;

    void count_at(const std::string& route);
    void add_headers(nanobind::handle headers);
    void respond(std::uint32_t status, nanobind::handle headers, nanobind::handle body_parts);
    void start_stream(std::uint32_t status, nanobind::handle headers);
    void write_chunk(nanobind::handle data);
    void end_stream();
    bool is_writable() const noexcept;
    void tell_client_gone();
    void tell_writable();

private:
    void forget_callbacks();
    std::string head_of(std::uint32_t status, nanobind::handle headers) const;
    bool chunks() const noexcept { return minor_version > 0; }
};

void bind_exchange(nanobind::module_& m);

}  // namespace mpserve::bind
