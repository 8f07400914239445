// An array that is its own, or borrowed from a file that is mapped. Reading is the same; a borrowed one
// becomes its own before it first changes.
#pragma once
#include <algorithm>
#include <memory>
#include <span>

#include "core/aligned.h"

namespace tercet {

template <class T>
class Buffer {
 public:
  Buffer() = default;
  Buffer(const Buffer&) = delete;  // data_ may point into own_
  Buffer& operator=(const Buffer&) = delete;

  const T* data() const { return data_; }
  size_t size() const { return size_; }
  // Only after reserve() or resize(), which make it its own.
  T* mutable_data() { return own_.data(); }

  // `values` stay as they are while `keeper` lives, and begin at a multiple of a cache line.
  void borrow(std::span<const T> values, std::shared_ptr<const void> keeper) {
    own_ = {};
    keeper_ = std::move(keeper);
    borrowed_ = true;
    data_ = values.data();
    size_ = values.size();
  }

  void take(AlignedVector<T> values) noexcept {
    own_ = std::move(values);
    keeper_.reset();
    borrowed_ = false;
    data_ = own_.data();
    size_ = own_.size();
  }

  // Makes it its own, with room, after which resize() cannot fail.
  void reserve(size_t size) {
    if (borrowed_) {
      own_.reserve(std::max(size, size_));
      own_.assign(data_, data_ + size_);
      borrowed_ = false;
      keeper_.reset();
    }
    make_room(own_, size);
    data_ = own_.data();
  }
  // New elements are uninitialised. Shrinking frees nothing.
  void resize(size_t size) {
    reserve(size);
    own_.resize(size);
    data_ = own_.data();
    size_ = size;
  }

 private:
  AlignedVector<T> own_;
  std::shared_ptr<const void> keeper_;
  bool borrowed_ = false;
  const T* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace tercet
