// Scenarios that may hang, crash or poison the process, or that need one in which the library has
// not run yet. Each says what went wrong on standard error, and returns whether nothing did.
#pragma once

#include <string>
#include <vector>

namespace tilewise::gpu {

using Arguments = std::vector<std::string>;

// Argument: "legacy", "explicit-legacy", "per-thread", "blocking" or "non-blocking". A call on such
// a stream runs after what was enqueued before it, returns without waiting for that, and does not
// read tables of the host after it has returned.
bool wait_for_nothing(const Arguments& arguments);

// A call leaves the current context as it is; a stream of a context that the caller made is
// refused.
bool keep_contexts(const Arguments& arguments);

// Streams and memory of a second GPU are refused in calls on the first, and run on their own.
bool tell_devices_apart(const Arguments& arguments);

// Under a capture in the strictest mode a call that was not prepared is refused. Neither that nor
// preparing it spoils the capture.
bool capture_cold(const Arguments& arguments);

// A kernel of the caller traps, which leaves the context unusable.
bool poison(const Arguments& arguments);

// The caller resets the device.
bool reset(const Arguments& arguments);

// All of the device's memory is taken before the first call.
bool fill_memory(const Arguments& arguments);

// Forks before the first use of CUDA, and one after it.
bool fork_early(const Arguments& arguments);
bool fork_late(const Arguments& arguments);

// Argument: k. The k-th call of the driver fails. Exit status 3 if there are fewer calls.
bool fail_one(const Arguments& arguments);
inline constexpr int kNoSuchCall = 3;

// Says on standard error what does not hold.
bool holds(bool is_true, const std::string& what);
bool is_ok(const std::string& message, const char* what);

}  // namespace tilewise::gpu
