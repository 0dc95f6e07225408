// The right to read the block of one popped request.
//
// Guarantees: the block stays mapped and unchanged while a `LeaseRef` to its lease lives. The
// request
//   object, its tensors and every array that looks into the block each hold one, so an array that a
//   model keeps after `execute` keeps its bytes.
// Assumes: the GIL is held wherever a reference is made or dropped; the count is not atomic.
// Owner: who pops requests derives from this class, keeps one reference itself, and learns from
//   `use_count() > 1` that the block may not be given back with the completion. `on_unused` then
//   tells when it may.
#pragma once

#include <cstdint>
#include <utility>

#include <nanobind/nanobind.h>

namespace mpserve::bind {

class InferenceRequest;

struct SequencePlace {
    std::uint64_t serial = 0;  // 0: the request belongs to no sequence
    std::uint32_t slot = 0;
};

class RequestLease {
public:
    RequestLease(const RequestLease&) = delete;
    RequestLease& operator=(const RequestLease&) = delete;

    std::uint32_t use_count() const noexcept { return use_count_; }

    // The model answers through its sender, as often as it wants (a decoupled model).
    virtual bool is_stream() const noexcept { return false; }
    // Sends one of a stream's answers (an InferenceResponse, or None with the final flag).
    virtual void send(const InferenceRequest&, nanobind::handle, std::uint32_t) {}

    // Whether `send` would not have to wait for the reader.
    virtual bool has_room() noexcept { return true; }

    // Of a stream of requests: asks the client's side for the next one, and takes it.
    virtual void ask_input() {}
    virtual nanobind::object take_input() { return nanobind::none(); }

    // Of a request of a sequence: where the instance holds it, and which one it is.
    virtual SequencePlace sequence_place() const noexcept { return {}; }

    // The client went away or changed its mind.
    virtual bool is_cancelled() const noexcept { return false; }

    // Where bytes of a client's region lie that the request may use; nullptr for none.
    virtual std::byte* region_at(std::uint64_t, std::uint64_t, std::uint64_t) const noexcept {
        return nullptr;
    }
    // None of the request's regions lost bytes since the request came.
    virtual bool regions_are_intact() const noexcept { return true; }

protected:
    RequestLease() noexcept = default;
    virtual ~RequestLease() = default;

private:
    friend class LeaseRef;

    // The last reference is gone: give the block back; the object may delete itself or be used
    // again.
    virtual void on_unused() noexcept = 0;

    std::uint32_t use_count_ = 0;
};

// One counted reference to a lease; may be empty.
class LeaseRef {
public:
    LeaseRef() noexcept = default;
    explicit LeaseRef(RequestLease* lease) noexcept : lease_(lease) {
        if (lease_ != nullptr) ++lease_->use_count_;
    }
    LeaseRef(const LeaseRef& other) noexcept : LeaseRef(other.lease_) {}
    LeaseRef(LeaseRef&& other) noexcept : lease_(std::exchange(other.lease_, nullptr)) {}
    LeaseRef& operator=(LeaseRef other) noexcept {
        std::swap(lease_, other.lease_);
        return *this;
    }
    ~LeaseRef() {
        if (lease_ != nullptr && --lease_->use_count_ == 0) lease_->on_unused();
    }

    RequestLease* get() const noexcept { return lease_; }
    RequestLease* operator->() const noexcept { return lease_; }
    explicit operator bool() const noexcept { return lease_ != nullptr; }

private:
    RequestLease* lease_ = nullptr;
};

}  // namespace mpserve::bind
