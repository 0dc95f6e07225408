#include "mpserve/counters.hpp"

namespace mpserve {

namespace {

std::uint32_t distance(std::uint32_t one, std::uint32_t other) noexcept {
    return one < other ? other - one : one - other;
}

template <typename Row>
Row* claim(std::span<Row> table, std::uint32_t instance, std::uint32_t number) noexcept {
    const auto wanted = batch_key(instance, number);
    Row* nearest = nullptr;
    for (auto& row : table) {
        auto key = row.key.load(std::memory_order_relaxed);
        // Another instance may take the row in between: then `key` is what it took it for.
        if (key == 0 && row.key.compare_exchange_strong(key, wanted, std::memory_order_relaxed)) {
            return &row;
        }
        if (key == wanted) return &row;
        const bool is_ours = key >> 32 == wanted >> 32;
        if (is_ours &&
            (nearest == nullptr ||
             distance(static_cast<std::uint32_t>(key), number) <
                 distance(static_cast<std::uint32_t>(nearest->key.load(std::memory_order_relaxed)),
                          number))) {
            nearest = &row;
        }
    }
    return nearest;
}

}  // namespace

BatchRow* claim_batch_row(std::span<BatchRow> table, std::uint32_t instance,
                          std::uint32_t rows) noexcept {
    return claim(table, instance, rows);
}

ResponseRow* claim_response_row(std::span<ResponseRow> table, std::uint32_t instance,
                                std::uint32_t number) noexcept {
    return claim(table, instance, number);
}

}  // namespace mpserve
