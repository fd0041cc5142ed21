// The C face, and the C++ face over it, read as C++20, with designated initialisers.
#include "tilewise/tilewise.h"

#if __has_include("tilewise/tilewise.hpp")
#include "tilewise/tilewise.hpp"
#endif

static_assert(sizeof(tw_tensor) == 128, "the tensor is frozen");
static_assert(offsetof(tw_tensor, reserved) == 96, "the tensor is frozen");

tw_status header_reads_as_cpp20();
tw_status header_reads_as_cpp20() {
  const tw_mask causal{.size = sizeof(tw_mask), .has_right = 1};
  const tw_options options{.size = sizeof(tw_options), .mask = &causal};
  const tw_request request{.size = sizeof(tw_request), .options = &options};
  return tw_forward(&request, nullptr, nullptr, 0);
}
