#include "python/fast/host.h"

#include "python/fast/library.h"
#include "python/fast/workspace.h"

namespace tilewise::fast {

void run_on_host(tw_operation operation, const tw_request& request, tw_execution& execution,
                 Answer& answer) {
  const Function function = operation == TW_FORWARD ? library().forward : library().backward;
  Workspace workspace;
  workspace.take_kept(execution);
  answer.status = function(&request, &execution, answer.message, sizeof answer.message);
  // Asks for the size only after the library has refused the call, which changes nothing, and makes
  // the call again. Asking before each call would cost most calls more than this costs a few.
  size_t bytes = 0;
  if (answer.status != TW_INVALID ||
      library().workspace(operation, &request, &execution, &bytes, nullptr, 0) != TW_OK ||
      bytes <= execution.workspace_bytes)
    return;
  answer.is_out_of_memory = !workspace.take_on_host(bytes, execution);
  if (answer.is_out_of_memory) return;
  answer.status = function(&request, &execution, answer.message, sizeof answer.message);
}

}  // namespace tilewise::fast
