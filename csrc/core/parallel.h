// One pool of threads for the process. No OpenMP: a second OpenMP runtime beside torch's crashes.
#pragma once
#include <cstddef>
#include <functional>

namespace tercet {

// Threads used when a caller does not say: TERCET_NUM_THREADS, else what the scheduler affinity and the
// cgroup quota leave. At least 1.
size_t default_threads();

// Runs body(task, worker) for every task in [0, tasks), with at most `threads` workers (0: the default);
// worker is in [0, worker_count(tasks, threads)). Tasks are claimed one by one, so any thread may run any
// task: results must not depend on it. A call from inside a body runs inline. Concurrent calls share the
// pool. The first exception thrown by a body stops the claiming of further tasks and is rethrown here.
//
// After fork() the child starts a pool of its own on first use.
void parallel_for(size_t tasks, size_t threads, const std::function<void(size_t task, size_t worker)>& body);

// How many workers parallel_for would use: what scratch must be allocated for.
size_t worker_count(size_t tasks, size_t threads);

}  // namespace tercet
