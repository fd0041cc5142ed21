// The functions of the C face that append to a cache.
#include "api/request.h"

using namespace tilewise;

tw_status tw_append(const tw_append_request* request, const tw_execution* execution, char* message,
                    size_t message_bytes) {
  return answer(run<AppendProblem>(request, execution), message, message_bytes);
}

tw_status tw_prepare_append(const tw_append_request* request, const tw_execution* execution,
                            char* message, size_t message_bytes) {
  return answer(make_ready<AppendProblem>(request, execution), message, message_bytes);
}

tw_status tw_workspace_append(const tw_append_request* request, const tw_execution* execution,
                              size_t* bytes, char* message, size_t message_bytes) {
  return answer(ask_workspace<AppendProblem>(request, execution, bytes), message, message_bytes);
}
