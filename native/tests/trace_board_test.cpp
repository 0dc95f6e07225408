// Which requests are traced, when several processes ask.

#include "mpserve/trace_board.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include "check.hpp"
#include "shared_memory.hpp"

using namespace mpserve;
using mpserve::check::SharedMemory;

namespace {

struct Fixture {
    Fixture() : memory(TraceBoard::required_bytes()) { CHECK(board.format(memory.segment())); }
    int sample(int requests, std::uint32_t rate, std::int64_t limit, std::uint32_t slot = 0) {
        int traced = 0;
        for (int request = 0; request < requests; ++request)
            traced += board.sample(slot, rate, limit);
        return traced;
    }
    SharedMemory memory;
    TraceBoard board;
};

}  // namespace

TEST_CASE(each_rate_th_request_is_traced) {
    Fixture f;
    CHECK(!f.board.sample(0, 3, TraceBoard::kUnlimited));
    CHECK(!f.board.sample(0, 3, TraceBoard::kUnlimited));
    CHECK(f.board.sample(0, 3, TraceBoard::kUnlimited));
    CHECK_EQUAL(f.sample(30, 3, TraceBoard::kUnlimited), 10);
    CHECK_EQUAL(f.sample(10, 0, TraceBoard::kUnlimited), 0);
}

TEST_CASE(no_more_than_the_limit_are_traced) {
    Fixture f;
    CHECK_EQUAL(f.sample(100, 2, 7), 7);
    CHECK_EQUAL(f.board.made(0), 7);
    f.board.reset(0);
    CHECK_EQUAL(f.sample(100, 2, 7), 7);
}

TEST_CASE(slots_count_for_themselves) {
    Fixture f;
    CHECK_EQUAL(f.sample(3, 2, TraceBoard::kUnlimited, 1), 1);
    CHECK_EQUAL(f.sample(1, 2, TraceBoard::kUnlimited, 2), 0);
    CHECK_EQUAL(f.sample(5, 1, TraceBoard::kUnlimited, kTraceSlots), 0);
}

TEST_CASE(processes_share_the_counts) {
    constexpr int kProcesses = 4;
    constexpr int kRequests = 20'000;
    Fixture f;
    for (int process = 0; process < kProcesses; ++process) {
        if (fork() != 0) continue;
        _exit(f.sample(kRequests, 100, 500) < 0 ? 1 : 0);
    }
    for (int process = 0; process < kProcesses; ++process) {
        int status = 0;
        CHECK(wait(&status) > 0 && status == 0);
    }
    CHECK_EQUAL(f.sample(99, 100, TraceBoard::kUnlimited), 0);  // all others were counted
    CHECK(f.board.made(0) >= 500);
    CHECK_EQUAL(f.sample(kRequests, 100, 500), 0);
}

TEST_CASE(another_segment_is_refused) {
    SharedMemory memory(TraceBoard::required_bytes());
    TraceBoard board;
    CHECK(!board.attach(memory.segment()));
}

int main() { return mpserve::check::run_all(); }
