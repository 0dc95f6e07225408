// A growable run of bytes that is filled once and not cleared before.
//
// Guarantees: what `grow` gives is writable and uninitialised; memory is kept by `clear`, so a
// buffer
//   that is reused allocates only until it has seen its largest message.
// Assumes: one thread. Pointers into it hold until the next `grow`.
// Owner: whoever holds the object (a connection, an encoder); it can be moved, not copied.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

namespace mpserve {

class ByteBuffer {
public:
    ByteBuffer() noexcept = default;
    explicit ByteBuffer(std::size_t capacity) { reserve(capacity); }
    ~ByteBuffer() noexcept { std::free(data_); }
    ByteBuffer(const ByteBuffer&) = delete;
    ByteBuffer& operator=(const ByteBuffer&) = delete;
    ByteBuffer(ByteBuffer&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)),
          size_(std::exchange(other.size_, 0)),
          capacity_(std::exchange(other.capacity_, 0)) {}
    ByteBuffer& operator=(ByteBuffer&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        std::swap(capacity_, other.capacity_);
        return *this;
    }

    char* data() noexcept { return data_; }
    const char* data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }
    std::size_t capacity() const noexcept { return capacity_; }
    bool empty() const noexcept { return size_ == 0; }
    std::string_view view() const noexcept { return {data_, size_}; }

    void clear() noexcept { size_ = 0; }
    // Drops what lies past `size`, which is at most the present size.
    void truncate(std::size_t size) noexcept { size_ = size; }

    // Room for `bytes` more, not yet counted in `size`; throws std::bad_alloc.
    char* grow(std::size_t bytes) {
        if (bytes > capacity_ - size_) reserve_more(bytes);
        return data_ + size_;
    }
    // Counts `bytes` that were written into the room of `grow`.
    void commit(std::size_t bytes) noexcept { size_ += bytes; }
    // As `commit`, by the end of what was written.
    void commit_to(const char* end) noexcept { size_ = static_cast<std::size_t>(end - data_); }

    void append(std::string_view text) {
        char* place = grow(text.size());
        if (!text.empty()) std::memcpy(place, text.data(), text.size());
        size_ += text.size();
    }
    void push_back(char byte) {
        *grow(1) = byte;
        ++size_;
    }
    void reserve(std::size_t capacity) {
        if (capacity > capacity_) reallocate(capacity);
    }

private:
    void reserve_more(std::size_t bytes) {
        if (bytes > static_cast<std::size_t>(-1) / 4 - size_) throw std::bad_alloc();
        const std::size_t wanted = size_ + bytes;
        const std::size_t doubled = capacity_ < 512 ? 1024 : capacity_ * 2;
        reallocate(wanted > doubled ? wanted : doubled);
    }
    void reallocate(std::size_t capacity) {
        void* moved = std::realloc(data_, capacity);
        if (moved == nullptr) throw std::bad_alloc();
        data_ = static_cast<char*>(moved);
        capacity_ = capacity;
    }

    char* data_ = nullptr;
    std::size_t size_ = 0;
    std::size_t capacity_ = 0;
};

}  // namespace mpserve
