#include "trace_gates.hpp"

#include <memory>
#include <utility>

namespace nb = nanobind;
using namespace nb::literals;

namespace mpserve::bind {

void TraceGates::set(nb::object board, const TraceGate* general, StringMap<TraceGate> models,
                     StringMap<bool> untraced) {
    board_owner_ = std::move(board);
    board_ = &nb::cast<TraceBoardObject&>(board_owner_).board;
    has_general_ = general != nullptr;
    if (general != nullptr) general_ = *general;
    models_ = std::move(models);
    untraced_ = std::move(untraced);
    on_ = has_general_ || !models_.empty();
    held_ = false;
}

const TraceGate* TraceGates::find(std::string_view model) const noexcept {
    if (const auto own = models_.find(model); own != models_.end()) return &own->second;
    return has_general_ && !untraced_.contains(model) ? &general_ : nullptr;
}

bool TraceGates::is_for_python(std::string_view model, bool has_context) noexcept {
    const auto* gate = find(model);
    if (gate == nullptr) return false;
    if (has_context && gate->takes_contexts) return true;
    if (!held_) held_ = board_->sample(gate->slot, gate->rate, gate->limit);
    return held_;
}

bool TraceGates::take(std::string_view model, bool has_context) noexcept {
    if (!on_) return false;
    const auto* gate = find(model);
    if (gate == nullptr) return false;
    if (has_context && gate->takes_contexts) return true;
    return std::exchange(held_, false) || board_->sample(gate->slot, gate->rate, gate->limit);
}

void bind_trace_board(nb::module_& m) {
    nb::class_<TraceBoardObject>(m, "TraceBoard", "Counts of traces that all processes share.")
        .def(nb::new_([](nb::object buffer) {
                 auto object = std::make_unique<TraceBoardObject>();
                 object->mapping = std::make_shared<Mapping>(std::move(buffer));
                 if (!object->board.attach(object->mapping->segment())) {
                     throw nb::value_error("trace board: the segment has another layout");
                 }
                 return object.release();
             }),
             "buffer"_a)
        .def_static("required_bytes", &TraceBoard::required_bytes)
        .def_static(
            "format",
            [](nb::object buffer) {
                const Mapping mapping(std::move(buffer));
                TraceBoard board;
                if (!board.format(mapping.segment())) {
                    throw nb::value_error("buffer: a segment of `required_bytes` is needed");
                }
            },
            "buffer"_a, "Make an empty board in a zeroed segment.")
        .def(
            "sample",
            [](TraceBoardObject& self, std::uint32_t slot, std::uint32_t rate, std::int64_t limit) {
                return self.board.sample(slot, rate, limit);
            },
            "slot"_a, "rate"_a, "limit"_a,
            "Whether this request is traced: each `rate`-th of the slot is, at most `limit`; -1 "
            "for any number.")
        .def("next_id", [](TraceBoardObject& self) { return self.board.next_id(); })
        .def("next_ticket", [](TraceBoardObject& self) { return self.board.next_ticket(); })
        .def(
            "reset", [](TraceBoardObject& self, std::uint32_t slot) { self.board.reset(slot); },
            "slot"_a, "Count anew.")
        .def(
            "made",
            [](const TraceBoardObject& self, std::uint32_t slot) { return self.board.made(slot); },
            "slot"_a, "How many traces were made by a slot's setting.");
    m.attr("TRACE_SLOTS") = kTraceSlots;
}

}  // namespace mpserve::bind
