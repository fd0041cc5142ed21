// One call of the library on the processor, with scratch memory; no Python in it.
#pragma once
#include <tilewise/tilewise.h>

namespace tilewise::fast {

struct Answer {
  tw_status status = TW_INVALID;
  bool is_out_of_memory = false;
  char message[2048];
  Answer() { message[0] = '\0'; }
};

// Forward or backward, with the scratch memory of this thread, which grows where it is too small.
void run_on_host(tw_operation operation, const tw_request& request, tw_execution& execution,
                 Answer& answer);

}  // namespace tilewise::fast
