// Scenarios that need a process in which the library has not run yet. Each says what went wrong on
// standard error, and returns whether nothing did.
#pragma once

#include <string>
#include <vector>

namespace tilewise::robust {

using Arguments = std::vector<std::string>;

// Arguments: an operation, "memory" or "threads", "once" or "for-good". In a new process for each k
// the operation is the first call, and its k-th request, or all from there on, are refused.
bool starve(const Arguments& arguments);

// A first call on one thread takes no memory.
bool call_cold(const Arguments& arguments);

// Threads that start while the caller flushes denormal numbers to zero give the same bits as
// others.
bool start_threads_under_flush(const Arguments& arguments);

// Calls work after a fork before the first call, and after a fork in its child.
bool fork_cold(const Arguments& arguments);

// Argument: the value of TILEWISE_NUM_THREADS, which is no number of threads. Calls refuse it.
bool refuse_thread_limit(const Arguments& arguments);

}  // namespace tilewise::robust
