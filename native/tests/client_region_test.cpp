// Regions of clients' shared memory, and that a file that is cut off ends nobody.

#include "mpserve/client_region.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <vector>

#include "check.hpp"

using namespace mpserve;

namespace {

constexpr std::uint64_t kPage = 4096;

// A file in /dev/shm that lives as long as the object.
class File {
public:
    explicit File(std::uint64_t bytes)
        : prefix_("/dev/shm/client-region-test-" + std::to_string(getpid()) + "."),
          path_(prefix_ + "1") {
        const int fd = ::open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
        CHECK(fd >= 0);
        close(fd);
        resize(bytes);
    }
    ~File() { unlink(path_.c_str()); }
    File(const File&) = delete;
    File& operator=(const File&) = delete;

    void resize(std::uint64_t bytes) const {
        CHECK_EQUAL(truncate(path_.c_str(), static_cast<off_t>(bytes)), 0);
    }
    void remove() const { unlink(path_.c_str()); }
    const std::string& prefix() const { return prefix_; }
    const std::string& path() const { return path_; }

private:
    std::string prefix_;
    std::string path_;
};

TEST_CASE(a_region_gives_places_inside_of_it_only) {
    const File file(2 * kPage);
    const auto region = ClientRegion::open(file.path());
    CHECK(region != nullptr);
    CHECK(region->at(0, 2 * kPage) != nullptr);
    CHECK(region->at(2 * kPage, 0) != nullptr);
    CHECK(region->at(1, 2 * kPage) == nullptr);
    CHECK(region->at(UINT64_MAX, 2) == nullptr);
    CHECK(region->at(2, UINT64_MAX) == nullptr);
    CHECK(region->holds(kPage, kPage));
}

TEST_CASE(a_file_that_became_shorter_does_not_hold_what_it_held) {
    const File file(2 * kPage);
    const auto region = ClientRegion::open(file.path());
    file.resize(kPage);
    CHECK(region->holds(0, kPage));
    CHECK(!region->holds(0, kPage + 1));
    CHECK(region->is_intact());
}

TEST_CASE(what_is_cut_off_reads_as_zeros_and_breaks_the_region) {
    const File file(8 * kPage);
    const auto region = ClientRegion::open(file.path());
    auto* const bytes = region->at(0, 8 * kPage);
    std::memset(bytes, 1, 8 * kPage);
    file.resize(2 * kPage);
    std::uint64_t sum = 0;
    for (std::uint64_t index = 0; index < 8 * kPage; ++index) {
        sum += static_cast<std::uint64_t>(*(bytes + index));
    }
    CHECK_EQUAL(sum, 2 * kPage);
    std::memset(bytes, 2, 8 * kPage);
    CHECK(!region->is_intact());
    CHECK(region->at(0, kPage) != nullptr);
}

TEST_CASE(only_the_region_that_was_cut_off_is_broken) {
    const File file(2 * kPage);
    const auto other_path = file.prefix() + "2";
    const int fd = ::open(other_path.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
    CHECK_EQUAL(ftruncate(fd, kPage), 0);
    close(fd);
    const auto region = ClientRegion::open(file.path());
    const auto other = ClientRegion::open(other_path);
    unlink(other_path.c_str());
    std::memset(other->at(0, kPage), 7, kPage);
    file.resize(0);
    std::memset(region->at(0, 2 * kPage), 1, 2 * kPage);
    CHECK(!region->is_intact());
    CHECK(other->is_intact());
    CHECK_EQUAL(static_cast<int>(*other->at(kPage - 1, 1)), 7);
}

TEST_CASE(regions_are_opened_once_and_forgotten_when_their_name_goes) {
    const File file(kPage);
    ClientRegions regions(file.prefix());
    const auto first = regions.find(1, 0, kPage);
    CHECK(first != nullptr);
    CHECK(regions.find(1, 0, kPage) == first);
    CHECK(regions.find(2, 0, kPage) == nullptr);
    regions.forget_gone();
    CHECK_EQUAL(regions.size(), 1u);
    file.remove();
    regions.forget_gone();
    CHECK_EQUAL(regions.size(), 0u);
    CHECK(regions.find(1, 0, kPage) == nullptr);
    std::memset(first->at(0, kPage), 3, kPage);  // still mapped for who uses it
}

TEST_CASE(a_broken_region_is_opened_anew) {
    const File file(2 * kPage);
    ClientRegions regions(file.prefix());
    const auto first = regions.find(1, 0, kPage);
    file.resize(0);
    *first->at(kPage, 1) = std::byte{1};
    CHECK(!first->is_intact());
    file.resize(kPage);
    const auto second = regions.find(1, 0, kPage);
    CHECK(second != nullptr && second != first);
    CHECK(second->is_intact());
}

TEST_CASE(a_region_that_grew_is_mapped_anew_once_a_request_needs_it) {
    const File file(kPage);
    ClientRegions regions(file.prefix());
    const auto first = regions.find(1, 0, kPage);
    CHECK(regions.find(1, kPage, 1) == nullptr);
    file.resize(2 * kPage);
    const auto second = regions.find(1, kPage, kPage);
    CHECK(second != nullptr && second != first);
    CHECK(regions.find(1, 0, kPage) == second);
    CHECK_EQUAL(regions.size(), 1u);
    file.resize(kPage);
    CHECK(regions.find(1, kPage, 1) == nullptr);
    CHECK(regions.find(1, 0, 1) != nullptr);
}

TEST_CASE(a_link_and_an_empty_file_are_no_regions) {
    const File file(0);
    CHECK(ClientRegion::open(file.path()) == nullptr);
    const auto path = file.prefix() + "link";
    CHECK_EQUAL(symlink("/etc/hostname", path.c_str()), 0);
    CHECK(ClientRegion::open(path) == nullptr);
    unlink(path.c_str());
}

// A SIGBUS that is not ours goes to who handled it before; by default it ends the process.
TEST_CASE(other_bus_errors_end_the_process_as_before) {
    const pid_t child = fork();
    if (child == 0) {
        struct sigaction defaults{};
        defaults.sa_handler = SIG_DFL;
        sigaction(SIGBUS, &defaults, nullptr);
        bus_guard::arm();
        raise(SIGBUS);
        raise(SIGBUS);  // the first one only took our handler away
        _exit(0);
    }
    int status = 0;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK(WIFSIGNALED(status));
    CHECK_EQUAL(WTERMSIG(status), SIGBUS);
}

// Ends of a child whose own handler is asked after ours.
constexpr int kToldInFull = 7;
constexpr int kToldTheNumber = 8;

int end_of_child(const struct sigaction& own) {
    const pid_t child = fork();
    if (child == 0) {
        sigaction(SIGBUS, &own, nullptr);
        bus_guard::arm();
        raise(SIGBUS);
        _exit(0);
    }
    int status = 0;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_CASE(who_handled_bus_errors_before_still_does) {
    struct sigaction in_full{};
    in_full.sa_flags = SA_SIGINFO;
    in_full.sa_sigaction = [](int number, siginfo_t* information, void*) {
        _exit(number == SIGBUS && information != nullptr ? kToldInFull : 1);
    };
    CHECK_EQUAL(end_of_child(in_full), kToldInFull);
    struct sigaction by_number{};
    by_number.sa_handler = [](int number) { _exit(number == SIGBUS ? kToldTheNumber : 1); };
    CHECK_EQUAL(end_of_child(by_number), kToldTheNumber);
}

TEST_CASE(more_mappings_than_can_be_guarded_are_refused) {
    const File file(kPage);
    static std::byte place{};
    std::vector<std::uint32_t> entries;
    for (;;) {
        const auto entry = bus_guard::guard(&place, 1);
        if (entry == bus_guard::kNoEntry) break;
        entries.push_back(entry);
    }
    CHECK_EQUAL(entries.size(), std::size_t{bus_guard::kMaxMappings});
    CHECK(ClientRegion::open(file.path()) == nullptr);
    bus_guard::release(entries.back());
    CHECK(ClientRegion::open(file.path()) != nullptr);
    entries.pop_back();
    for (const auto entry : entries) bus_guard::release(entry);
}

}  // namespace

int main() { return check::run_all(); }
