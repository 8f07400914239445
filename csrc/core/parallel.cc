#include "core/parallel.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <exception>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#include "core/error.h"

#if defined(__linux__)
#include <sched.h>
#endif
#if !defined(_WIN32)
#include <pthread.h>
#endif

namespace tercet {
namespace {

// One parallel_for in flight. The caller is worker 0 and always makes progress, so a busy pool delays nobody.
struct Job {
  const std::function<void(size_t, size_t)>* body;
  size_t tasks;
  size_t workers;
  std::atomic<size_t> next_task{0};
  size_t joined = 1;   // workers that took part, guarded by Pool::mutex
  size_t running = 0;  // pool threads inside run(), guarded by Pool::mutex
  std::condition_variable done;
  std::exception_ptr error;
  std::mutex error_mutex;

  void run(size_t worker) {
    for (size_t task; (task = next_task.fetch_add(1, std::memory_order_relaxed)) < tasks;) {
      try {
        (*body)(task, worker);
      } catch (...) {
        std::lock_guard<std::mutex> lock(error_mutex);
        if (!error) error = std::current_exception();
        next_task.store(tasks, std::memory_order_relaxed);
      }
    }
  }
};

thread_local bool inside_job = false;

class Pool {
 public:
  void run(Job& job) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      try {
        while (threads_.size() + 1 < job.workers) threads_.emplace_back([this] { serve(); });
      } catch (const std::exception&) {
        // The system gives no more threads, or memory: those that are there, at least this one, do the work.
      }
      try {
        jobs_.push_back(&job);
      } catch (const std::bad_alloc&) {
        // This thread does the work alone.
      }
    }
    wake_.notify_all();
    inside_job = true;
    job.run(0);
    inside_job = false;
    std::unique_lock<std::mutex> lock(mutex_);
    std::erase(jobs_, &job);
    job.done.wait(lock, [&] { return job.running == 0; });
  }

 private:
  void serve() {
    inside_job = true;
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      Job* job = nullptr;
      wake_.wait(lock, [&] {
        const auto open = std::find_if(jobs_.begin(), jobs_.end(), [](Job* j) {
          return j->joined < j->workers && j->next_task.load(std::memory_order_relaxed) < j->tasks;
        });
        job = open == jobs_.end() ? nullptr : *open;
        return job != nullptr;
      });
      const size_t worker = job->joined++;
      ++job->running;
      lock.unlock();
      job->run(worker);
      lock.lock();
      if (--job->running == 0) job->done.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job*> jobs_;
  std::vector<std::thread> threads_;
};

// Never destroyed: its threads sleep until the process ends, and a static destructor would race with them.
// After fork() the child has none of them and its locks are in an unknown state, so it makes a new pool.
std::atomic<Pool*> current_pool{nullptr};
std::mutex* pool_mutex = new std::mutex;

Pool& pool() {
  if (Pool* p = current_pool.load(std::memory_order_acquire)) return *p;
  std::lock_guard<std::mutex> lock(*pool_mutex);
  if (!current_pool.load(std::memory_order_relaxed)) {
#if !defined(_WIN32)
    static const int registered = pthread_atfork(nullptr, nullptr, [] {
      current_pool.store(nullptr, std::memory_order_release);
      pool_mutex = new std::mutex;
      inside_job = false;
    });
    (void)registered;
#endif
    current_pool.store(new Pool, std::memory_order_release);
  }
  return *current_pool.load(std::memory_order_relaxed);
}

size_t affinity_threads() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return static_cast<size_t>(CPU_COUNT(&set));
#endif
  return std::thread::hardware_concurrency();
}

// A container's CPU quota, rounded up: more threads than that are only throttled. 0 when there is none.
size_t cgroup_threads() {
#if defined(__linux__)
  double quota = 0, period = 0;
  if (std::FILE* f =
          std::fopen("/sys/fs/cgroup/cpu.max", "r")) {  // version 2: "max 100000" or "200000 100000"
    const int fields = std::fscanf(f, "%lf %lf", &quota, &period);
    std::fclose(f);
    if (fields != 2) return 0;
  } else {  // version 1: quota -1 means none
    const auto read = [](const char* path, double& value) {
      std::FILE* f1 = std::fopen(path, "r");
      if (!f1) return false;
      const int fields = std::fscanf(f1, "%lf", &value);
      std::fclose(f1);
      return fields == 1;
    };
    if (!read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", quota) ||
        !read("/sys/fs/cgroup/cpu/cpu.cfs_period_us", period)) {
      return 0;
    }
  }
  if (quota > 0 && period > 0) return static_cast<size_t>((quota + period - 1) / period);
#endif
  return 0;
}

size_t machine_threads() {
  const size_t quota = cgroup_threads();
  const size_t affinity = std::max<size_t>(1, affinity_threads());
  return quota ? std::max<size_t>(1, std::min(quota, affinity)) : affinity;
}

}  // namespace

size_t default_threads() {
  // The environment is read at every call, so that a program may set it after import; the machine only once.
  if (const char* text = std::getenv("TERCET_NUM_THREADS"); text && *text) {
    char* end = nullptr;
    const long value = std::strtol(text, &end, 10);
    require(*end == '\0' && value >= 1 && value <= 4096, "TERCET_NUM_THREADS: expected 1 to 4096, got \"",
            text, "\"");
    return static_cast<size_t>(value);
  }
  static const size_t machine = machine_threads();
  return machine;
}

size_t worker_count(size_t tasks, size_t threads) {
  if (inside_job) return 1;
  return std::max<size_t>(1, std::min(tasks, threads ? threads : default_threads()));
}

void parallel_for(size_t tasks, size_t threads, const std::function<void(size_t, size_t)>& body) {
  const size_t workers = worker_count(tasks, threads);
  if (workers == 1) {
    for (size_t task = 0; task < tasks; ++task) body(task, 0);
    return;
  }
  Job job;
  job.body = &body;
  job.tasks = tasks;
  job.workers = workers;
  pool().run(job);
  if (job.error) std::rethrow_exception(job.error);
}

}  // namespace tercet
