// The C face, and the C++ face over it, read as C++17.
#include "tilewise/tilewise.h"

#if __has_include("tilewise/tilewise.hpp")
#include "tilewise/tilewise.hpp"
#endif

static_assert(sizeof(tw_tensor) == 128, "the tensor is frozen");
static_assert(offsetof(tw_tensor, stride) == 56, "the tensor is frozen");

tw_status header_reads_as_cpp17();
tw_status header_reads_as_cpp17() {
  tw_request request{};
  request.size = sizeof request;
  return tw_forward(&request, nullptr, nullptr, 0);
}
