// Scenarios that need a process in which the library has not run yet. Each says what went wrong on
// standard error, and returns whether nothing did.
#pragma once

#include <string>
#include <vector>

namespace tilewise::robust {

using Arguments = std::vector<std::string>;

// operation, "memory" or "threads", "once" or "for-good": the operation is the first to be called,
// and finds the k-th request refused, for every k that there is.
bool starve(const Arguments& arguments);

// A first call on one thread takes no memory.
bool call_cold(const Arguments& arguments);

// Threads that started while the caller flushed denormal numbers to zero.
bool start_threads_under_flush(const Arguments& arguments);

// A fork before the first call, and a fork in its child.
bool fork_cold(const Arguments& arguments);

// TILEWISE_NUM_THREADS is this text, which is no number of threads.
bool refuse_thread_limit(const Arguments& arguments);

}  // namespace tilewise::robust
