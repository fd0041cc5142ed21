// tw_take_faults returns, and clears, the faults that calls on a device without an error word of
// their own met in their tables.
#include "api/call.h"
#include "problem/structs.h"

namespace tilewise {
namespace {

Status take_faults(const tw_execution* given, uint32_t* faults) {
  if (!faults) return invalid("faults is null: give a place for the answer.");
  Execution execution;
  TW_TRY(check(given, execution));
  const tw_device& device = execution.machine.device;
  const Backend* backend = backend_of(device);
  // The processor has no faults to report: it checks tables before a call runs and refuses wrong
  // ones.
  if (device.kind != TW_CPU && (!backend || !backend->take_faults))
    return unsupported("Nothing in this library runs on CUDA devices.");
  core::uint32 taken = 0;
  if (backend && backend->take_faults)
    TW_TRY(backend->take_faults(device, execution.stream, taken));
  *faults = taken;
  return {};
}

}  // namespace
}  // namespace tilewise

tw_status tw_take_faults(const tw_execution* execution, uint32_t* faults, char* message,
                         size_t message_bytes) {
  return tilewise::answer(tilewise::take_faults(execution, faults), message, message_bytes);
}
