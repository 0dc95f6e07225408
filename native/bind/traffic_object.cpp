#include "traffic_object.hpp"

#include <memory>
#include <string>
#include <utility>

#include <nanobind/stl/string.h>

namespace nb = nanobind;
using namespace nb::literals;

namespace mpserve::bind {

namespace {

constexpr unsigned kPlaceBit = 32;
constexpr unsigned kKindBit = 16;

std::uint64_t value_of(const Counter& counter) noexcept {
    return counter.load(std::memory_order_relaxed);
}

// A key is stored after what it stands for; pairs with the stores of `Traffic`.
std::uint64_t key_of(const Counter& key) noexcept { return key.load(std::memory_order_acquire); }

TrafficBoard open_board(const Mapping& mapping) {
    TrafficBoard board;
    if (!board.attach(mapping.segment())) {
        throw nb::value_error("traffic board: the segment has another layout");
    }
    return board;
}

TrafficKind checked_kind(std::uint32_t kind) {
    if (kind >= kTrafficKinds) throw nb::value_error("kind: there is no such one");
    return static_cast<TrafficKind>(kind);
}

nb::tuple row_of(const TrafficRow& row) {
    nb::list buckets;
    for (const auto& bucket : row.buckets) buckets.append(value_of(bucket));
    return nb::make_tuple(value_of(row.sum), nb::tuple(buckets));
}

nb::list places_of(const TrafficArea& area) {
    nb::list places;
    for (const auto& place : area.places) {
        const auto key = key_of(place.key);
        if (key == 0) break;
        const auto bytes = std::min<std::uint64_t>(key & 0xffff, kTrafficTextBytes);
        const auto text = nb::steal(
            PyUnicode_DecodeUTF8(place.text.data(), static_cast<Py_ssize_t>(bytes), "replace"));
        places.append(nb::make_tuple((key >> kPlaceBit) - 1, text, value_of(place.started),
                                     value_of(place.received), value_of(place.sent)));
    }
    return places;
}

nb::list rows_of(const TrafficArea& area) {
    nb::list rows;
    for (std::size_t index = 0; index < kTrafficRows; ++index) {
        const auto key = key_of(area.keys[index]);
        if (key == 0) break;
        const auto counts = row_of(area.rows[index]);
        rows.append(nb::make_tuple((key >> kPlaceBit) - 1, key >> kKindBit & 0xffff, key & 0xffff,
                                   counts[0], counts[1]));
    }
    return rows;
}

// All areas: (in_progress, in_flight, places, rows) each.
nb::list areas_of(const nb::object& buffer) {
    const Mapping mapping(buffer);
    auto board = open_board(mapping);
    nb::list areas;
    for (std::uint32_t index = 0; index < board.areas(); ++index) {
        const auto& area = board.area(index);
        nb::list in_progress;
        for (const auto& count : area.in_progress) in_progress.append(value_of(count));
        // First the rows: a place is made before the rows that name it.
        const auto rows = rows_of(area);
        areas.append(
            nb::make_tuple(nb::tuple(in_progress), row_of(area.in_flight), places_of(area), rows));
    }
    return areas;
}

}  // namespace

void bind_traffic(nb::module_& m) {
    nb::class_<TrafficObject>(m, "Traffic", "A frontend's counts of what clients asked.")
        .def(nb::new_([](nb::object buffer, std::uint32_t area) {
                 auto object = std::make_unique<TrafficObject>();
                 object->mapping = std::make_shared<Mapping>(std::move(buffer));
                 auto board = open_board(*object->mapping);
                 if (area >= board.areas()) throw nb::value_error("area: there is no such one");
                 object->traffic = Traffic(board.area(area));
                 return object.release();
             }),
             "buffer"_a, "area"_a)
        .def_static("required_bytes", &TrafficBoard::required_bytes, "areas"_a)
        .def_static(
            "format",
            [](nb::object buffer, std::uint32_t areas) {
                const Mapping mapping(std::move(buffer));
                TrafficBoard board;
                if (!board.format(mapping.segment(), areas)) {
                    throw nb::value_error("buffer: a segment of `required_bytes` is needed");
                }
            },
            "buffer"_a, "areas"_a, "Make an empty board in a zeroed segment.")
        .def_static("read", &areas_of, "buffer"_a,
                    "Everything that was counted, by area: (in progress by kind, (sum, buckets) "
                    "of the requests in flight, places, rows). A place: (kind, text, started, "
                    "received, sent); a row: (place, kind, status, sum_ns, buckets).")
        .def(
            "place",
            [](TrafficObject& self, std::uint32_t kind, const std::string& text) {
                return self.traffic.place(checked_kind(kind), text);
            },
            "kind"_a, "text"_a, "Where this is counted; `NO_PLACE` when no more can be.")
        .def(
            "call_began",
            [](TrafficObject& self, std::uint32_t place) { self.traffic.call_began(place); },
            "place"_a)
        .def(
            "call_ended",
            [](TrafficObject& self, std::uint32_t place, std::uint32_t kind, std::uint32_t status,
               std::uint64_t taken_ns) {
                self.traffic.answered(place, checked_kind(kind), status, taken_ns);
            },
            "place"_a, "kind"_a, "status"_a, "taken_ns"_a)
        .def(
            "message_received",
            [](TrafficObject& self, std::uint32_t place) { self.traffic.message_received(place); },
            "place"_a)
        .def(
            "message_sent",
            [](TrafficObject& self, std::uint32_t place) { self.traffic.message_sent(place); },
            "place"_a);
    m.attr("NO_PLACE") = kNoPlace;
    nb::list bounds;
    for (const auto bound : kTrafficBoundsMs) bounds.append(bound);
    m.attr("TRAFFIC_BOUNDS_MS") = nb::tuple(bounds);
}

}  // namespace mpserve::bind
