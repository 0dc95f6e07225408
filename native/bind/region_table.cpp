#include "region_table.hpp"

#include <string>
#include <utility>

#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include "raise.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace mpserve::bind {

namespace {

// Triton's texts.
[[noreturn]] void refuse(RegionFault fault, std::string_view name) {
    const auto quoted = " shared memory region: '" + std::string(name) + "'";
    switch (fault) {
        case RegionFault::offset: raise("InvalidRequest", "Invalid offset for" + quoted);
        case RegionFault::size: raise("InvalidRequest", "Invalid offset + byte size for" + quoted);
        default: raise("ModelNotFound", "Unable to find" + quoted);
    }
}

nb::tuple place(const RegionTableObject& self, std::string_view name, std::uint64_t offset,
                std::uint64_t bytes) {
    RegionPiece piece;
    const auto fault = self.table.place({.name = name, .offset = offset, .bytes = bytes}, piece);
    if (fault != RegionFault::none) refuse(fault, name);
    return nb::make_tuple(piece.id, piece.offset, piece.bytes);
}

StringMap<RegionPiece> read_registrations(nb::handle given) {
    StringMap<RegionPiece> registrations;
    for (nb::handle item : nb::borrow<nb::iterable>(given)) {
        registrations.insert_or_assign(nb::cast<std::string>(item[0]),
                                       RegionPiece{.id = nb::cast<std::uint64_t>(item[1]),
                                                   .offset = nb::cast<std::uint64_t>(item[2]),
                                                   .bytes = nb::cast<std::uint64_t>(item[3])});
    }
    return registrations;
}

}  // namespace

RegionHold::RegionHold(nb::object owner, std::vector<std::uint64_t> ids)
    : owner_(std::move(owner)), ids_(std::move(ids)) {
    nb::inst_ptr<RegionTableObject>(owner_)->table.hold(ids_);
}

RegionHold::~RegionHold() {
    if (ids_.empty()) return;
    auto& object = *nb::inst_ptr<RegionTableObject>(owner_);
    if (!object.table.let_go(ids_)) return;
    try {
        object.on_free();
    } catch (nb::python_error& error) {
        error.discard_as_unraisable("a region that is not used any more");
    }
}

void bind_region_table(nb::module_& m) {
    nb::class_<RegionHold>(m, "RegionHold", "Keeps regions from being let go of while it lives.");
    nb::class_<RegionTableObject>(m, "RegionTable",
                                  "The shared memory that clients registered, and who uses it.")
        .def(nb::init<nb::object>(), nb::kw_only(), "on_free"_a,
             "`on_free()` is called when a region that was withdrawn is not used any more.")
        .def(
            "publish",
            [](RegionTableObject& self, nb::handle registrations) {
                self.table.publish(read_registrations(registrations));
            },
            "registrations"_a,
            nb::sig("def publish(self, registrations: collections.abc.Iterable[tuple[str, int, "
                    "int, int]]) -> None"),
            "Know these, and no others, from now on: (name, id, offset, byte_size) each.")
        .def("place", &place, "name"_a, "offset"_a, "byte_size"_a,
             nb::sig("def place(self, name: str, offset: int, byte_size: int) -> tuple[int, int, "
                     "int]"),
             "Return (id, offset, bytes) of a piece. Raises `ModelNotFound` where there is no such "
             "region, `InvalidRequest` where the piece would not lie inside it.")
        .def(
            "hold",
            [](nb::handle_t<RegionTableObject> self, std::vector<std::uint64_t> ids) {
                return RegionHold(nb::borrow(self), std::move(ids));
            },
            "ids"_a, "Return what keeps these regions.")
        .def(
            "in_use", [](const RegionTableObject& self) { return self.table.in_use(); },
            "Ids of regions that were withdrawn and are still used, in order.");
}

}  // namespace mpserve::bind
