// One call of the library on the processor, with its workspace; it uses no Python.
#pragma once
#include <tilewise/tilewise.h>

namespace tilewise::fast {

struct Answer {
  tw_status status = TW_INVALID;
  bool is_out_of_memory = false;
  char message[2048];
  Answer() { message[0] = '\0'; }
};

// Runs forward or backward in this thread's workspace, which grows if it is too small.
void run_on_host(tw_operation operation, const tw_request& request, tw_execution& execution,
                 Answer& answer);

}  // namespace tilewise::fast
