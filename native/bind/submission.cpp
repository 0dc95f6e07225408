#include "submission.hpp"

#include <algorithm>

namespace mpserve::bind {

namespace {

constexpr std::uint64_t kFnvBasis = 0xcbf29ce484222325ULL;
constexpr std::uint64_t kFnvPrime = 0x100000001b3ULL;

std::uint64_t mix(std::uint64_t digest, std::uint64_t value) noexcept {
    return (digest ^ value) * kFnvPrime;
}

bool is_ragged(const Signature& signature, std::string_view name) noexcept {
    return std::ranges::any_of(signature.inputs, [name](const TensorSpec& spec) {
        return spec.ragged && spec.name == name;
    });
}

}  // namespace

std::uint32_t rows_of(const Signature& signature,
                      std::span<const std::int64_t> first_shape) noexcept {
    if (signature.max_batch_size <= 0 || first_shape.empty()) return 1;
    return static_cast<std::uint32_t>(std::clamp<std::int64_t>(first_shape[0], 1, INT32_MAX));
}

void describe_batch(const MessageView& view, Submission& submission) noexcept {
    const auto& signature = submission.route->signature;
    auto& rows = submission.rows;
    auto& digest = submission.shape_digest;
    rows = 1;
    digest = kFnvBasis;
    for (std::uint32_t index = 0; index < view.tensor_count(); ++index) {
        const auto tensor = view.tensor(index);
        for (const char letter : tensor.name)
            digest = mix(digest, static_cast<std::uint8_t>(letter));
        digest = mix(digest, static_cast<std::uint8_t>(tensor.datatype));
        if (index == 0) rows = rows_of(signature, tensor.shape);
        if (signature.has_ragged && is_ragged(signature, tensor.name)) continue;
        digest = mix(digest, tensor.shape.size());
        // Along the first dimension a batch is stacked, whether rows are counted or, as in
        // MLServer, requests.
        for (std::size_t axis = 1; axis < tensor.shape.size(); ++axis) {
            digest = mix(digest, static_cast<std::uint64_t>(tensor.shape[axis]));
        }
    }
}

}  // namespace mpserve::bind
