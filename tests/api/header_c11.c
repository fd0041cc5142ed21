/* The C face is C11, and its frozen tensor has the size that other languages count on. */
#include "tilewise/tilewise.h"

_Static_assert(sizeof(tw_tensor) == 128, "the tensor is frozen");
_Static_assert(offsetof(tw_tensor, shape) == 24, "the tensor is frozen");
_Static_assert(offsetof(tw_tensor, dtype) == 88, "the tensor is frozen");
_Static_assert(offsetof(tw_request, size) == 0, "a struct begins with its size");

/* Uses each kind of thing once: a file of declarations alone would not show a missing type. */
tw_status header_reads_as_c11(const tw_tensor* query, size_t* bytes);
tw_status header_reads_as_c11(const tw_tensor* query, size_t* bytes) {
  tw_request request = {0};
  request.size = sizeof request;
  request.query = *query;
  return tw_workspace(TW_FORWARD, &request, NULL, bytes, NULL, 0);
}
