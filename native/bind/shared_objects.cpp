#include "shared_objects.hpp"

#include <nanobind/stl/unique_ptr.h>

#include "attach_object.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace mpserve::bind {

Segment PythonSegmentSource::create(std::uint32_t number, std::uint64_t bytes) {
    auto made = create_(number, bytes);
    if (made.is_none()) return {};
    if (number >= mappings_.size()) mappings_.resize(number + 1);
    mappings_[number] = std::make_shared<Mapping>(std::move(made));
    return mappings_[number]->segment();
}

void PythonSegmentSource::remove(std::uint32_t number) {
    mappings_[number].reset();
    remove_(number);
}

namespace {

void bind_board(nb::module_& m) {
    nb::class_<BoardObject>(m, "Board", "Process table: who lives, by index and epoch.")
        .def(nb::new_([](nb::object buffer) {
                 return attach_object<BoardObject>(std::move(buffer), SegmentKind::board, "board",
                                                   [](auto& object, const Segment& segment) {
                                                       return object.board.attach(segment);
                                                   });
             }),
             "buffer"_a)
        .def_static("required_bytes", &Board::required_bytes, "processes"_a)
        .def_static(
            "format",
            [](nb::object buffer, std::uint32_t processes) {
                const Mapping mapping(std::move(buffer));
                if (!Board().format(mapping.segment(), processes)) refuse_layout("board", 0);
            },
            "buffer"_a, "processes"_a, "Make an empty table in a zeroed segment.")
        .def(
            "begin", [](BoardObject& self, std::uint32_t index) { return self.board.begin(index); },
            "index"_a, "Epoch of a process that is about to start; 0 when the index is too large.")
        .def(
            "end", [](BoardObject& self, std::uint32_t index) { self.board.end(index); }, "index"_a,
            "The process was reaped: blocks lent to it return to their owners.")
        .def(
            "is_current",
            [](const BoardObject& self, std::uint32_t index, std::uint32_t epoch) {
                return self.board.is_current(index, epoch);
            },
            "index"_a, "epoch"_a)
        .def_prop_ro("processes", [](const BoardObject& self) { return self.board.processes(); });
}

void bind_ring(nb::module_& m) {
    nb::class_<RingObject>(m, "CompletionRing",
                           "Finished requests on their way to one frontend or caller.")
        .def(nb::new_([](nb::object buffer) {
                 return attach_object<RingObject>(std::move(buffer), SegmentKind::ring,
                                                  "completion ring",
                                                  [](auto& object, const Segment& segment) {
                                                      return object.ring.attach(segment);
                                                  });
             }),
             "buffer"_a)
        .def_static("required_bytes", &CompletionRing::required_bytes, "capacity"_a)
        .def_static(
            "format",
            [](nb::object buffer, std::uint32_t capacity) {
                const Mapping mapping(std::move(buffer));
                CompletionRing ring;
                if (!ring.format(mapping.segment(), capacity)) {
                    throw nb::value_error(
                        "capacity: a power of two that fits the segment is needed");
                }
            },
            "buffer"_a, "capacity"_a, "Make an empty ring in a zeroed segment.")
        .def(
            "sleep",
            [](RingObject& self, std::uint32_t timeout_ms) {
                const nb::gil_scoped_release unlocked;
                self.ring.sleep(std::uint64_t{timeout_ms} * 1'000'000);
            },
            "timeout_ms"_a,
            "Wait for an answer after `Dispatcher.on_wake`; for a ring without an eventfd.")
        .def(
            "wake_sleeper", [](RingObject& self) { self.ring.wake_sleeper(); },
            "Let `sleep` return; from any thread.")
        .def_prop_ro("arena_used_bytes",
                     [](const RingObject& self) { return self.ring.arena_used_bytes(); })
        .def_prop_ro("arena_total_bytes",
                     [](const RingObject& self) { return self.ring.arena_total_bytes(); })
        .def_prop_ro("capacity", [](const RingObject& self) { return self.ring.capacity(); });
}

void bind_arena(nb::module_& m) {
    nb::class_<ArenaObject>(m, "Arena", "This process's allocator of shared memory for tensors.")
        .def(nb::init<nb::object, nb::object, std::uint64_t, std::uint64_t>(), "create"_a,
             "remove"_a, "initial_bytes"_a, "max_bytes"_a)
        .def(
            "prepare", [](ArenaObject& self) { self.arena.prepare(); },
            "Make the first segment, so that the first block does not wait for it.")
        .def(
            "collect", [](ArenaObject& self) { return self.arena.collect(); },
            "Take in blocks that borrowers gave back; return how many.")
        .def(
            "reclaim_dead",
            [](ArenaObject& self, const BoardObject& board) {
                return self.arena.reclaim_dead(board.board);
            },
            "board"_a, "Free what was lent to dead processes; return how many blocks.")
        .def(
            "trim", [](ArenaObject& self, std::uint64_t keep) { self.arena.trim(keep); },
            "keep_bytes"_a = 0, "Remove unused large segments.")
        .def_prop_ro("used_bytes", [](const ArenaObject& self) { return self.arena.used_bytes(); })
        .def_prop_ro("total_bytes",
                     [](const ArenaObject& self) { return self.arena.total_bytes(); })
        .def_prop_ro("blocks", [](const ArenaObject& self) { return self.arena.blocks(); });
}

}  // namespace

void bind_shared_objects(nb::module_& m) {
    m.attr("LAYOUT_VERSION") = kLayoutVersion;
    bind_board(m);
    bind_ring(m);
    bind_queue(m);
    bind_arena(m);
}

}  // namespace mpserve::bind
