#include "mpserve/signature_check.hpp"

#include <vector>

namespace mpserve {

namespace {

bool shape_fits(const TensorSpec& spec, std::span<const std::int64_t> shape) noexcept {
    if (spec.any_shape) return true;
    if (spec.shape.size() != shape.size()) return false;
    for (std::size_t index = 0; index < shape.size(); ++index) {
        if (spec.shape[index] != -1 && spec.shape[index] != shape[index]) return false;
    }
    return true;
}

// Position of the spec with this name, or `specs.size()`. Clients mostly keep the model's order.
std::size_t find_spec(const std::vector<TensorSpec>& specs, std::string_view name,
                      std::size_t likely) noexcept {
    if (likely < specs.size() && specs[likely].name == name) return likely;
    std::size_t index = 0;
    while (index < specs.size() && specs[index].name != name) ++index;
    return index;
}

}  // namespace

bool SignatureCheck::has_name(const Names& names, std::uint32_t count,
                              std::string_view name) noexcept {
    for (std::uint32_t index = 0; index < count; ++index) {
        if (std::string_view(names[index].text, names[index].bytes) == name) return true;
    }
    return false;
}

DecodeOutcome SignatureCheck::add_input(std::string_view name, Datatype datatype,
                                        std::span<const std::int64_t> shape) noexcept {
    if (input_count_ == kMaxNames) return DecodeOutcome::limit;
    if (signature_.open_inputs) {
        if (has_name(input_names_, input_count_, name)) return DecodeOutcome::name;
    } else {
        const auto& specs = signature_.inputs;
        const auto position = find_spec(specs, name, input_count_);
        if (position == specs.size()) return DecodeOutcome::name;
        if (position >= kMaxNames) return DecodeOutcome::limit;
        const auto bit = std::uint64_t{1} << position;
        if ((inputs_seen_ & bit) != 0) return DecodeOutcome::name;
        inputs_seen_ |= bit;
        const auto& spec = specs[position];
        if (!spec.optional) ++required_seen_;
        if (spec.datatype != Datatype::invalid && spec.datatype != datatype) {
            return DecodeOutcome::datatype;
        }
        if (!shape_fits(spec, shape)) return DecodeOutcome::shape;
    }
    input_names_[input_count_++] = {name.data(), name.size()};
    return check_batch(shape);
}

DecodeOutcome SignatureCheck::check_batch(std::span<const std::int64_t> shape) noexcept {
    if (signature_.max_batch_size <= 0) return DecodeOutcome::accepted;
    if (shape.empty() || shape[0] < 1 || shape[0] > signature_.max_batch_size) {
        return DecodeOutcome::shape;
    }
    if (rows_ == 0) rows_ = shape[0];
    return rows_ == shape[0] ? DecodeOutcome::accepted : DecodeOutcome::shape;
}

DecodeOutcome SignatureCheck::add_output(std::string_view name) noexcept {
    if (output_count_ == kMaxNames) return DecodeOutcome::limit;
    const auto& specs = signature_.outputs;
    if (!signature_.open_outputs && find_spec(specs, name, output_count_) == specs.size()) {
        return DecodeOutcome::name;
    }
    if (has_name(output_names_, output_count_, name)) return DecodeOutcome::name;
    output_names_[output_count_++] = {name.data(), name.size()};
    return DecodeOutcome::accepted;
}

DecodeOutcome SignatureCheck::finish() const noexcept {
    if (signature_.open_inputs) return DecodeOutcome::accepted;
    std::uint32_t required = 0;
    for (const auto& spec : signature_.inputs) required += spec.optional ? 0 : 1;
    return required_seen_ == required ? DecodeOutcome::accepted : DecodeOutcome::name;
}

}  // namespace mpserve
