#include "sequence_controls.hpp"

#include <cstring>

#include <nanobind/stl/string.h>

#include "tensor.hpp"

namespace nb = nanobind;

namespace mpserve::bind {

namespace {

constexpr std::array<std::int64_t, 2> kOne{1, 1};

template <typename Number>
std::string bytes_of(Number number) {
    std::string bytes(sizeof(number), '\0');
    std::memcpy(bytes.data(), &number, sizeof(number));
    return bytes;
}

// A number is cut to the width of the control, as Triton does.
std::string correlation_bytes(const SequenceControl& control, const MessageView& view,
                              bool is_ready) {
    if (control.datatype == Datatype::bytes) {
        const auto text = is_ready ? view.text(view.header().sequence_text) : std::string_view{};
        return bytes_of(static_cast<std::uint32_t>(text.size())) + std::string(text);
    }
    const auto number = is_ready ? view.header().sequence_id : 0;
    return bytes_of(number).substr(0, item_bytes(control.datatype));
}

}  // namespace

nb::object make_control(const SequenceControl& control, const MessageView& view, bool is_ready) {
    const auto flags = is_ready ? view.header().flags : 0;
    std::string element;
    switch (control.kind) {
        case ControlKind::start:
            element = (flags & kSequenceStart) != 0 ? control.when_true : control.when_false;
            break;
        case ControlKind::end:
            element = (flags & kSequenceEnd) != 0 ? control.when_true : control.when_false;
            break;
        case ControlKind::ready: element = is_ready ? control.when_true : control.when_false; break;
        case ControlKind::correlation_id:
            element = correlation_bytes(control, view, is_ready);
            break;
    }
    nb::object instance = nb::inst_alloc(nb::type<Tensor>());
    new (nb::inst_ptr<Tensor>(instance))
        Tensor(control.name, control.datatype, {kOne.data(), control.rank}, std::move(element));
    nb::inst_mark_ready(instance);
    return instance;
}

SequenceControl read_control(nb::handle given) {
    static constexpr const char* kKinds[] = {"CONTROL_SEQUENCE_START", "CONTROL_SEQUENCE_END",
                                             "CONTROL_SEQUENCE_READY", "CONTROL_SEQUENCE_CORRID"};
    SequenceControl control{};
    control.name = nb::cast<std::string>(given[0]);
    const auto kind = nb::cast<std::string>(given[1]);
    std::uint8_t index = 0;
    while (index < std::size(kKinds) && kind != kKinds[index]) ++index;
    if (index == std::size(kKinds)) throw nb::value_error("no such kind of control input");
    control.kind = static_cast<ControlKind>(index);
    control.datatype = datatype_from_name(nb::cast<std::string>(given[2]));
    control.rank = nb::cast<bool>(given[3]) ? 2 : 1;
    const auto when_false = nb::cast<nb::bytes>(given[4]);
    const auto when_true = nb::cast<nb::bytes>(given[5]);
    control.when_false.assign(when_false.c_str(), when_false.size());
    control.when_true.assign(when_true.c_str(), when_true.size());
    return control;
}

}  // namespace mpserve::bind
