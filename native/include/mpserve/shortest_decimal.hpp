// The shortest decimal that reads back as a given double, and among these the closest.
//
// Guarantees: exact; agrees digit by digit with `std::to_chars`, which is the slow way for values
//   outside the range of the power table (and far below the speed that tensors need).
// Source: R. Giulietti, "The Schubfach way to render doubles" (2020).
#pragma once

#include <cstdint>

namespace mpserve {

// digits * 10^power; `digits` may end in zeros.
struct Decimal {
    std::uint64_t digits;
    int power;
};

// Of a finite value above zero.
Decimal shortest_decimal(double value) noexcept;

}  // namespace mpserve
