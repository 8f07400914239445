// A lock that many readers share and that no stream of readers can keep a writer from.
#pragma once
#include <mutex>
#include <shared_mutex>

namespace tercet {

// std::shared_mutex may prefer readers (glibc's does): with searches always under way an add would never
// begin. Here everyone passes a gate first, and a waiting writer keeps it closed behind itself.
class SharedLock {
 public:
  void lock() {
    const std::lock_guard<std::mutex> gate(gate_);
    readers_.lock();
  }
  void unlock() { readers_.unlock(); }
  void lock_shared() {
    const std::lock_guard<std::mutex> gate(gate_);
    readers_.lock_shared();
  }
  void unlock_shared() { readers_.unlock_shared(); }

 private:
  std::mutex gate_;
  std::shared_mutex readers_;
};

}  // namespace tercet
