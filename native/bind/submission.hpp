// A request on its way into a model queue.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "mpserve/arena.hpp"
#include "mpserve/message.hpp"
#include "region_table.hpp"
#include "route.hpp"

namespace mpserve::bind {

// What a sink needs to know of a request that it submits.
struct Submission {
    RouteRef route;
    Block block;
    std::uint64_t message_bytes = 0;
    std::uint64_t priority = 0;     // as asked for; 0: the model's default
    std::uint64_t timeout_us = 0;   // likewise
    std::uint64_t deadline_ns = 0;  // when its client will wait no more; 0: never
    std::uint32_t rows = 1;
    std::uint64_t shape_digest = 0;
    RegionHold regions{};                  // of clients' memory that it names
    std::unique_ptr<SequenceMark> mark{};  // when the route has sequences
};

// Of a request whose first input has this shape.
std::uint32_t rows_of(const Signature& signature,
                      std::span<const std::int64_t> first_shape) noexcept;

// Rows and digest of the finished message, as the queue batches by them.
void describe_batch(const MessageView& view, Submission& submission) noexcept;

}  // namespace mpserve::bind
