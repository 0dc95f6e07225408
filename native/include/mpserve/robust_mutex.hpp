// Process-shared mutex that survives the death of its holder.
//
// Guarantees: `RobustLock` holds the mutex until its end; when the last holder died inside, exactly
//   one next locker learns `recovered()` and has made the mutex consistent again.
// Assumes: critical sections are short, allocate nothing and make no system call.
// After a death: the kernel marks the mutex through the dead thread's robust list (EOWNERDEAD).
// Source: POSIX.1-2008 pthread_mutexattr_setrobust.
#pragma once

#include <pthread.h>

#include <cerrno>
#include <cstdlib>

namespace mpserve {

struct alignas(64) RobustMutex {
    pthread_mutex_t native;
    char reserved_[64 - sizeof(pthread_mutex_t)];

    // Only the creator of the segment calls this, before anybody else can see it.
    bool initialise() noexcept {
        pthread_mutexattr_t attributes;
        if (pthread_mutexattr_init(&attributes) != 0) return false;
        const bool made = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) == 0 &&
                          pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST) == 0 &&
                          pthread_mutex_init(&native, &attributes) == 0;
        pthread_mutexattr_destroy(&attributes);
        return made;
    }
};
static_assert(sizeof(RobustMutex) == 64);

class [[nodiscard]] RobustLock {
public:
    explicit RobustLock(RobustMutex& mutex) noexcept : mutex_(mutex) {
        const int error = pthread_mutex_lock(&mutex_.native);
        if (error == EOWNERDEAD) {
            recovered_ = true;
            pthread_mutex_consistent(&mutex_.native);
        } else if (error != 0) {
            std::abort();  // EINVAL or ENOTRECOVERABLE: the segment is not what it says it is
        }
    }
    ~RobustLock() { pthread_mutex_unlock(&mutex_.native); }
    RobustLock(const RobustLock&) = delete;
    RobustLock& operator=(const RobustLock&) = delete;

    // The last holder died inside: repair the structure before reading it.
    bool recovered() const noexcept { return recovered_; }

private:
    RobustMutex& mutex_;
    bool recovered_ = false;
};

}  // namespace mpserve
