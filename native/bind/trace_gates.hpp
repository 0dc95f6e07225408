// What a dispatcher's owner has to know of tracing to send a request the short way.
//
// Guarantees: while nothing is traced, asking costs one look at a flag. A request that is to be
//   traced is held back from the native path once, and its sample is kept for Python, which takes
//   it when it comes to the same request in the same turn.
// Owner: the dispatcher. Source: docs/adr/0017-tracing.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <nanobind/nanobind.h>

#include "mapping.hpp"
#include "mpserve/string_map.hpp"
#include "mpserve/trace_board.hpp"

namespace mpserve::bind {

struct TraceBoardObject {
    MappingRef mapping;
    TraceBoard board;
};

// A trace setting as far as it decides who is traced.
struct TraceGate {
    std::uint32_t slot = 0;
    std::uint32_t rate = 0;
    std::int64_t limit = TraceBoard::kUnlimited;
    bool takes_contexts = false;  // whoever brings a context is traced
};

class TraceGates {
public:
    bool is_on() const noexcept { return on_; }

    // The setting of models that have none of their own, and the models that have; nothing is
    // traced by a gate that is not given.
    void set(nanobind::object board, const TraceGate* general, StringMap<TraceGate> models,
             StringMap<bool> untraced);

    // Whether this request is one for Python. Of one that is not taken after that, the sample goes
    // to the next.
    bool holds_back(std::string_view model, bool has_context) noexcept {
        return on_ && is_for_python(model, has_context);
    }
    // Whether the request that Python has is traced.
    bool take(std::string_view model, bool has_context) noexcept;

private:
    bool is_for_python(std::string_view model, bool has_context) noexcept;
    const TraceGate* find(std::string_view model) const noexcept;

    nanobind::object board_owner_;
    TraceBoard* board_ = nullptr;
    TraceGate general_;
    StringMap<TraceGate> models_;
    StringMap<bool> untraced_;
    bool has_general_ = false;
    bool on_ = false;
    bool held_ = false;  // a request was held back and is on its way to Python
};

void bind_trace_board(nanobind::module_& m);

}  // namespace mpserve::bind
