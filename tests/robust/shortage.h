// A shortage of memory or of threads, made on purpose: from `begin_shortage` on, the program's
// malloc or pthread_create refuses what it is told to refuse. Requests of all threads count.
#pragma once

namespace tilewise::robust {

enum class Of { kMemory, kThreads };

struct Shortage {
  Of of = Of::kMemory;
  long after = 0;         // so many requests are granted first
  bool for_good = false;  // and then one is refused, or all
};

void begin_shortage(const Shortage& shortage);
// How many requests were refused.
long end_shortage();

// Requests for memory since the program began.
long memory_requests();

// Sanitizers bring a malloc of their own; there `new` alone is counted and refused.
bool sees_malloc();

}  // namespace tilewise::robust
