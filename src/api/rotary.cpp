// Rotary embedding's functions of the C face.
#include "api/request.h"

using namespace tilewise;

tw_status tw_rotary(const tw_rotary_request* request, const tw_execution* execution, char* message,
                    size_t message_bytes) {
  return answer(run<RotaryProblem>(request, execution), message, message_bytes);
}

tw_status tw_prepare_rotary(const tw_rotary_request* request, const tw_execution* execution,
                            char* message, size_t message_bytes) {
  return answer(make_ready<RotaryProblem>(request, execution), message, message_bytes);
}

tw_status tw_workspace_rotary(const tw_rotary_request* request, const tw_execution* execution,
                              size_t* bytes, char* message, size_t message_bytes) {
  return answer(ask_workspace<RotaryProblem>(request, execution, bytes), message, message_bytes);
}
