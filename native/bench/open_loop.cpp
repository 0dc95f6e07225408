// Open-loop HTTP/1.1 load: request number i is due at start + i/rate, whether or not the ones
// before it were answered, and its latency counts from when it was due. So a server that stalls is
// not asked less, and the wait of the requests behind a stall is seen (no coordinated omission).
//
//   open_loop ADDRESS PORT CONNECTIONS RATE SECONDS REQUEST_FILE ANSWER_FILE
//
// REQUEST_FILE holds the bytes of one whole request. A due request takes an idle connection; when
// there is none it waits its turn, and that wait is part of its latency. ANSWER_FILE receives
// three int64 for each answer, in their order: when the request was due (CLOCK_MONOTONIC, ns), the
// latency from then (ns), the HTTP status. One line of JSON goes to stdout. What is not answered
// DRAIN seconds after the last due time counts as `unanswered`.
//
// Assumes: answers have a Content-Length (no chunks), as those of all peers to a fixed request do.
// Source: Tene, "How NOT to Measure Latency" (coordinated omission); timerfd_create(2); epoll(7).

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;
constexpr std::int64_t kDrainNs = 20 * kSecondNs;
constexpr std::size_t kReadBytes = 1 << 18;
constexpr std::size_t kStatusAt = 9;  // in "HTTP/1.1 200 OK"
constexpr std::string_view kHeadEnd = "\r\n\r\n";

struct Connection {
    int socket = -1;
    std::int64_t due_ns = 0;     // of the request that is under way
    std::size_t sent_bytes = 0;  // of the request
    bool is_busy = false;
    std::string answer;         // head, and the body as far as it has not been skipped
    std::size_t body_left = 0;  // known once the head is whole
    bool has_head = false;
    std::int64_t status = 0;
};

struct Answer {
    std::int64_t due_ns;
    std::int64_t latency_ns;
    std::int64_t status;
};

struct Tally {
    std::vector<Answer> answers;
    std::int64_t bytes_read = 0;
    std::int64_t broken = 0;
    std::int64_t last_answer_ns = 0;
};

[[noreturn]] void fail(const char* what) {
    std::fprintf(stderr, "open_loop: %s: %s\n", what, std::strerror(errno));
    std::exit(1);
}

std::int64_t now_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * kSecondNs + now.tv_nsec;
}

template <typename Number>
Number number(const char* text) {
    Number value{};
    const char* end = text + std::strlen(text);
    if (std::from_chars(text, end, value).ptr != end) {
        std::fprintf(stderr, "open_loop: '%s' is no number\n", text);
        std::exit(2);
    }
    return value;
}

int connect_to(const char* address, std::uint16_t port) {
    const int socket_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in target{};
    target.sin_family = AF_INET;
    target.sin_port = htons(port);
    if (inet_pton(AF_INET, address, &target.sin_addr) != 1) {
        std::fprintf(stderr, "open_loop: '%s' is no IPv4 address\n", address);
        std::exit(2);
    }
    if (socket_fd < 0 ||
        connect(socket_fd, reinterpret_cast<const sockaddr*>(&target), sizeof target) != 0) {
        fail("connect");
    }
    const int on = 1;
    setsockopt(socket_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(socket_fd, F_SETFL, O_NONBLOCK);
    return socket_fd;
}

std::size_t content_length(std::string_view head) {
    constexpr std::string_view kName = "\r\ncontent-length:";
    const auto found = std::search(
        head.begin(), head.end(), kName.begin(), kName.end(), [](char left, char right) {
            return (left >= 'A' && left <= 'Z' ? left - 'A' + 'a' : left) == right;
        });
    if (found == head.end()) {
        return 0;
    }
    const char* digits = found + kName.size();
    while (*digits == ' ') {
        ++digits;
    }
    std::size_t length = 0;
    std::from_chars(digits, head.end(), length);
    return length;
}

// Load of one kind on one server; `run` is the whole life.
class OpenLoop {
public:
    OpenLoop(const char* address, std::uint16_t port, int connections, std::string request)
        : request_(std::move(request)),
          poll_(epoll_create1(EPOLL_CLOEXEC)),
          timer_(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)) {
        watch(timer_, EPOLLIN, kTimer);
        connections_.resize(static_cast<std::size_t>(connections));
        for (std::size_t index = 0; index < connections_.size(); ++index) {
            connections_[index].socket = connect_to(address, port);
            watch(connections_[index].socket, EPOLLIN | EPOLLOUT | EPOLLET, index);
            idle_.push_back(index);
        }
    }

    Tally run(double rate, std::int64_t duration_ns) {
        const double gap_ns = static_cast<double>(kSecondNs) / rate;
        const auto wanted = static_cast<std::int64_t>(static_cast<double>(duration_ns) / gap_ns);
        tally_.answers.reserve(static_cast<std::size_t>(wanted));
        start_ns_ = now_ns() + kSecondNs / 100;
        const auto due = [&](std::int64_t index) {
            return start_ns_ + static_cast<std::int64_t>(static_cast<double>(index) * gap_ns);
        };
        std::int64_t next = 0;
        std::array<epoll_event, 256> events{};
        while (true) {
            const std::int64_t now = now_ns();
            while (next < wanted && !idle_.empty() && due(next) <= now) {
                begin(due(next));
                ++next;
            }
            const bool all_sent = next == wanted;
            if ((all_sent && busy_ == 0) || now > due(wanted) + kDrainNs ||
                idle_.size() + busy_ == 0) {
                unanswered = wanted - next + static_cast<std::int64_t>(busy_);
                return std::move(tally_);
            }
            arm(all_sent ? due(wanted) + kDrainNs : std::max(due(next), now + 1));
            const int ready = epoll_wait(poll_, events.data(), events.size(), -1);
            for (int index = 0; index < ready; ++index) {
                handle(events[static_cast<std::size_t>(index)]);
            }
        }
    }

    std::int64_t start_ns() const { return start_ns_; }
    std::int64_t unanswered = 0;

private:
    static constexpr std::uint64_t kTimer = ~std::uint64_t{0};

    void watch(int descriptor, std::uint32_t events, std::uint64_t tag) {
        epoll_event event{};
        event.events = events;
        event.data.u64 = tag;
        if (epoll_ctl(poll_, EPOLL_CTL_ADD, descriptor, &event) != 0) {
            fail("epoll_ctl");
        }
    }

    void arm(std::int64_t at_ns) {
        itimerspec when{};
        when.it_value.tv_sec = at_ns / kSecondNs;
        when.it_value.tv_nsec = at_ns % kSecondNs;
        timerfd_settime(timer_, TFD_TIMER_ABSTIME, &when, nullptr);
    }

    void begin(std::int64_t due_ns) {
        const std::size_t index = idle_.front();
        idle_.pop_front();
        ++busy_;
        Connection& one = connections_[index];
        one.due_ns = due_ns;
        one.sent_bytes = 0;
        one.is_busy = true;
        one.has_head = false;
        one.answer.clear();
        send_more(one);
    }

    void send_more(Connection& one) {
        while (one.is_busy && one.sent_bytes < request_.size()) {
            const ssize_t sent = send(one.socket, request_.data() + one.sent_bytes,
                                      request_.size() - one.sent_bytes, MSG_NOSIGNAL);
            if (sent < 0) {
                if (errno != EAGAIN) {
                    give_up(one);
                }
                return;
            }
            one.sent_bytes += static_cast<std::size_t>(sent);
        }
    }

    void handle(const epoll_event& event) {
        if (event.data.u64 == kTimer) {
            std::uint64_t expirations = 0;
            [[maybe_unused]] const auto got = read(timer_, &expirations, sizeof expirations);
            return;
        }
        Connection& one = connections_[event.data.u64];
        if (event.events & EPOLLOUT) {
            send_more(one);
        }
        receive(one, event.data.u64);
    }

    void receive(Connection& one, std::size_t index) {
        while (one.socket >= 0) {
            const ssize_t got = recv(one.socket, buffer_.data(), buffer_.size(), 0);
            if (got < 0 && errno == EAGAIN) {
                return;
            }
            if (got <= 0) {
                give_up(one);
                return;
            }
            tally_.bytes_read += got;
            take(one, index, std::string_view(buffer_.data(), static_cast<std::size_t>(got)));
        }
    }

    void take(Connection& one, std::size_t index, std::string_view bytes) {
        if (!one.has_head) {
            one.answer.append(bytes);
            const std::size_t end = one.answer.find(kHeadEnd);
            if (end == std::string::npos) {
                return;
            }
            one.has_head = true;
            std::from_chars(one.answer.data() + kStatusAt, one.answer.data() + kStatusAt + 3,
                            one.status);
            const std::size_t there = one.answer.size() - end - kHeadEnd.size();
            const std::size_t length =
                content_length(std::string_view(one.answer.data(), end + kHeadEnd.size()));
            one.body_left = length - std::min(length, there);
        } else {
            one.body_left -= std::min(one.body_left, bytes.size());
        }
        if (one.body_left == 0) {
            finish(one, index);
        }
    }

    void finish(Connection& one, std::size_t index) {
        tally_.last_answer_ns = now_ns();
        tally_.answers.push_back({one.due_ns, tally_.last_answer_ns - one.due_ns, one.status});
        one.is_busy = false;
        --busy_;
        idle_.push_back(index);
    }

    // A connection that ended is not opened again: the count of the broken tells of it.
    void give_up(Connection& one) {
        close(one.socket);
        one.socket = -1;
        ++tally_.broken;
        if (one.is_busy) {
            one.is_busy = false;
            --busy_;
        } else {
            for (std::size_t at = 0; at < idle_.size(); ++at) {
                if (&connections_[idle_[at]] == &one) {
                    idle_.erase(idle_.begin() + static_cast<std::ptrdiff_t>(at));
                    break;
                }
            }
        }
    }

    std::string request_;
    int poll_;
    int timer_;
    std::vector<Connection> connections_;
    std::deque<std::size_t> idle_;  // the longest idle is used first, so that all of them are
    std::size_t busy_ = 0;
    std::int64_t start_ns_ = 0;
    Tally tally_;
    std::vector<char> buffer_ = std::vector<char>(kReadBytes);
};

}  // namespace

int main(int count, char** words) {
    if (count != 8) {
        std::fprintf(stderr,
                     "usage: open_loop ADDRESS PORT CONNECTIONS RATE SECONDS REQUEST ANSWERS\n");
        return 2;
    }
    std::ifstream file(words[6], std::ios::binary);
    std::string request{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    if (request.empty()) {
        fail(words[6]);
    }
    OpenLoop loop(words[1], number<std::uint16_t>(words[2]), number<int>(words[3]),
                  std::move(request));
    const auto duration_ns =
        static_cast<std::int64_t>(number<double>(words[5]) * static_cast<double>(kSecondNs));
    const Tally tally = loop.run(number<double>(words[4]), duration_ns);
    std::ofstream answers(words[7], std::ios::binary);
    answers.write(reinterpret_cast<const char*>(tally.answers.data()),
                  static_cast<std::streamsize>(tally.answers.size() * sizeof(Answer)));
    if (!answers.flush()) {
        fail(words[7]);
    }
    std::printf("{\"duration_ns\":%lld,\"bytes\":%lld,\"broken\":%lld,\"unanswered\":%lld}\n",
                static_cast<long long>(tally.last_answer_ns - loop.start_ns()),
                static_cast<long long>(tally.bytes_read), static_cast<long long>(tally.broken),
                static_cast<long long>(loop.unanswered));
    return 0;
}
