// Turns a call of XLA into a request of tilewise.
#pragma once
#include <tilewise/tilewise.h>

#include "python/xla/ffi.h"

namespace tilewise::xla {

// All structs of a request in one, so that one offset names a place in any of them. The structs
// point at each other, so a Request is neither copied nor moved.
class Request {
 public:
  Request();
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  // Reads a call. The attributes "operands" and "results" name the buffers in order, separated by
  // blanks; every other attribute is an option. False: `message` has the sentence.
  bool read(const ffi::CallFrame& frame, char* message, std::size_t message_bytes);

  const tw_request& get() const { return parts_.request; }

  struct Parts {
    tw_request request;
    tw_options options;
    tw_mask mask;
    tw_scores scores;
    tw_sequences queries, keys;
    tw_gradients gradients;
  };

 private:
  Parts parts_ = {};
};

}  // namespace tilewise::xla
