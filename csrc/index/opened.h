// What an index was opened from. Its payload, the codes and the vectors, stays in the file; it is compared
// with its checksums before it is first used, once and completely, so that opening need not read it.
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "storage/container.h"

namespace tercet {

class Opened {
 public:
  // `values`: looks at the payload after its checksums have been found right; throws Error for what no index
  // saves.
  void set(std::shared_ptr<const Container> file, std::vector<std::string> payload,
           std::function<void()> values) {
    file_ = std::move(file);
    payload_ = std::move(payload);
    values_ = std::move(values);
    unchecked_ = true;
  }

  // Before each use of the payload, under the lock of the index. Throws Error, every time, if it is damaged.
  void check() const {
    if (!unchecked_.load(std::memory_order_acquire)) return;
    const std::lock_guard<std::mutex> one(mutex_);
    if (!unchecked_.load(std::memory_order_relaxed)) return;
    file_->blame([&] {
      for (const std::string& section : payload_) file_->verify(section);
      values_();
    });
    unchecked_.store(false, std::memory_order_release);
  }

  // The whole file, as far as there is one.
  void verify() const {
    if (file_) file_->verify();
    check();
  }

  // The index has changed, and borrows nothing any more.
  void release() { file_.reset(); }

 private:
  std::shared_ptr<const Container> file_;
  std::vector<std::string> payload_;
  std::function<void()> values_;
  mutable std::atomic<bool> unchecked_{false};
  mutable std::mutex mutex_;
};

// What an index hands its state to, once, under its lock.
using SaveTo = std::function<void(const Sections&)>;

}  // namespace tercet
