#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <thread>
#include <vector>

#include "check.h"
#include "core/error.h"
#include "core/parallel.h"

using namespace tercet;

TEST(every_task_runs_once_by_a_known_worker) {
  for (size_t threads : {1, 2, 3, 8}) {
    std::vector<std::atomic<int>> runs(1000);
    std::atomic<size_t> highest{0};
    parallel_for(runs.size(), threads, [&](size_t task, size_t worker) {
      runs[task]++;
      size_t seen = highest;
      while (worker > seen && !highest.compare_exchange_weak(seen, worker)) {
      }
    });
    for (auto& r : runs) CHECK(r == 1);
    CHECK(highest < worker_count(runs.size(), threads));
  }
}

TEST(no_tasks_and_one_task) {
  int runs = 0;
  parallel_for(0, 4, [&](size_t, size_t) { ++runs; });
  CHECK(runs == 0);
  parallel_for(1, 4, [&](size_t, size_t) { ++runs; });
  CHECK(runs == 1);
}

TEST(a_nested_call_runs_inline) {
  std::atomic<int> inner{0};
  parallel_for(8, 4, [&](size_t, size_t) {
    CHECK(worker_count(100, 4) == 1);
    parallel_for(10, 4, [&](size_t, size_t worker) {
      CHECK(worker == 0);
      ++inner;
    });
  });
  CHECK(inner == 80);
}

TEST(an_exception_reaches_the_caller_and_the_pool_lives_on) {
  for (size_t threads : {1, 4}) {
    bool caught = false;
    try {
      parallel_for(100, threads, [](size_t task, size_t) {
        if (task == 7) throw std::runtime_error("seven");
      });
    } catch (const std::runtime_error& e) {
      caught = std::string(e.what()) == "seven";
    }
    CHECK(caught);
  }
  std::atomic<int> runs{0};
  parallel_for(50, 4, [&](size_t, size_t) { ++runs; });
  CHECK(runs == 50);
}

TEST(concurrent_callers_share_the_pool) {
  std::vector<std::thread> callers;
  std::atomic<size_t> total{0};
  for (int c = 0; c < 6; ++c) {
    callers.emplace_back([&] {
      for (int i = 0; i < 50; ++i) parallel_for(20, 3, [&](size_t, size_t) { ++total; });
    });
  }
  for (auto& caller : callers) caller.join();
  CHECK(total == 6u * 50 * 20);
}

TEST(thread_count_from_the_environment) {
  setenv("TERCET_NUM_THREADS", "3", 1);
  CHECK(default_threads() == 3);
  for (const char* bad : {"0", "-1", "two", "2x", "99999"}) {
    setenv("TERCET_NUM_THREADS", bad, 1);
    CHECK_FAILS(default_threads(), bad);
  }
  unsetenv("TERCET_NUM_THREADS");
  CHECK(default_threads() >= 1);
}
