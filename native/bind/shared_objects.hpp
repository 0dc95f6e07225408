// The shared structures as Python holds them: each keeps its mapping alive.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include <nanobind/nanobind.h>

#include "mapping.hpp"
#include "mpserve/arena.hpp"
#include "mpserve/board.hpp"
#include "mpserve/completion_ring.hpp"
#include "mpserve/model_queue.hpp"

namespace mpserve::bind {

struct BoardObject {
    MappingRef mapping;
    Board board;
};

struct RingObject {
    MappingRef mapping;
    CompletionRing ring;
};

struct QueueObject {
    MappingRef mapping;
    ModelQueue queue;
};

// Makes segments through Python: `create(number, bytes)` returns a mapped segment or None,
// `remove(number)` unlinks it.
class PythonSegmentSource final : public SegmentSource {
public:
    PythonSegmentSource(nanobind::object create, nanobind::object remove)
        : create_(std::move(create)), remove_(std::move(remove)) {}
    Segment create(std::uint32_t number, std::uint64_t bytes) override;
    void remove(std::uint32_t number) override;

private:
    nanobind::object create_;
    nanobind::object remove_;
    std::vector<MappingRef> mappings_;
};

struct ArenaObject {
    ArenaObject(nanobind::object create, nanobind::object remove, std::uint64_t initial_bytes,
                std::uint64_t max_bytes)
        : source(std::move(create), std::move(remove)), arena(source, initial_bytes, max_bytes) {}
    PythonSegmentSource source;
    Arena arena;
};

// `ModelQueue`: queue_object.cpp.
void bind_queue(nanobind::module_& m);
void bind_shared_objects(nanobind::module_& m);

}  // namespace mpserve::bind
