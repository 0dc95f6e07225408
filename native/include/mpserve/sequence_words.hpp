// What a request says of its sequence, as a codec has read it and before anybody has judged it.
#pragma once

#include <cstdint>
#include <string_view>

namespace mpserve {

struct SequenceWords {
    std::uint64_t number = 0;
    std::string_view text{};  // of a correlation id that is a text; views of what was read
    std::uint32_t flags = 0;  // kSequenceStart, kSequenceEnd
};

}  // namespace mpserve
