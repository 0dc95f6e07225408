// Microbenchmark of what counting a request of a wire costs: ns per request, median of 11 runs.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <vector>

#include "mpserve/traffic_board.hpp"

using namespace mpserve;

namespace {

constexpr int kRuns = 11;
constexpr int kRequests = 2'000'000;

template <typename Operation>
void measure(const char* name, Operation&& operation) {
    std::vector<double> runs;
    for (int run = 0; run < kRuns; ++run) {
        const auto start = std::chrono::steady_clock::now();
        for (int index = 0; index < kRequests; ++index) operation(index);
        const std::chrono::duration<double, std::nano> spent =
            std::chrono::steady_clock::now() - start;
        runs.push_back(spent.count() / kRequests);
    }
    std::sort(runs.begin(), runs.end());
    std::printf("%-44s %9.2f ns  [%.2f ... %.2f]\n", name, runs[kRuns / 2], runs.front(),
                runs.back());
}

void keep(const Traffic& traffic) { asm volatile("" : : "r"(&traffic) : "memory"); }

}  // namespace

int main() {
    const auto area = std::make_unique<TrafficArea>();
    Traffic traffic(*area);
    Traffic off;
    const auto infer = traffic.place(TrafficKind::get, "/v2/models/{model_name}/infer");
    measure("a request of HTTP, not counted", [&](int) {
        keep(off);
        if (off.is_on()) off.begin(TrafficKind::post);
    });
    measure("a request of HTTP for a model", [&](int index) {
        keep(traffic);
        traffic.begin(TrafficKind::post);
        traffic.found_in_flight(static_cast<std::uint32_t>(index) % 16 + 1);
        traffic.end(TrafficKind::post);
        traffic.answered(infer, TrafficKind::post, 200, 300'000);
    });
    measure("a call of gRPC for a model", [&](int index) {
        keep(traffic);
        traffic.call_began(infer);
        traffic.found_in_flight(static_cast<std::uint32_t>(index) % 16 + 1);
        traffic.answered(infer, TrafficKind::unary, 0, 300'000);
    });
    return 0;
}
