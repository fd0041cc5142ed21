// The functions of the C face that merge parts of the keys.
#include "api/request.h"

using namespace tilewise;

tw_status tw_merge(const tw_merge_request* request, const tw_execution* execution, char* message,
                   size_t message_bytes) {
  return answer(run<MergeProblem>(request, execution), message, message_bytes);
}

tw_status tw_prepare_merge(const tw_merge_request* request, const tw_execution* execution,
                           char* message, size_t message_bytes) {
  return answer(make_ready<MergeProblem>(request, execution), message, message_bytes);
}
