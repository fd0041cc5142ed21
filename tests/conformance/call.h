// One case through the C face: builds tilewise.h's structs over a setup's memory and makes the
// call, with a workspace of exactly the given size, filled with NaN.
#pragma once

#include <cstdint>
#include <string>

#include "conformance/case.h"
#include "conformance/guarded.h"
#include "conformance/setup.h"
#include "tilewise/tilewise.h"

namespace tilewise::conformance {

struct Outcome {
  tw_status status = TW_OK;
  std::string message;
};

// A call's structs. They point at each other and at the setup, so a Request is never moved.
class Request {
 public:
  Request(const Case& drawn, const Setup& setup);
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  // Makes the call with the workspace that tw_workspace asks for. Fails if tw_workspace asks for
  // another size when tensors have no data, or if the call accepts one byte less.
  Outcome run(tw_operation operation);
  Outcome call(tw_operation operation, std::size_t workspace_bytes);
  Outcome workspace(tw_operation operation, std::size_t& bytes);
  // Makes a dense call write fewer rows of output and lse.
  void shorten_output(std::int64_t rows);

  tw_request request{};
  tw_options options{};
  tw_mask mask{};
  tw_scores scores{};
  tw_dropout dropout{};
  tw_sequences queries{}, keys{};
  tw_cache cache{};
  tw_scaling scaling{};
  tw_gradients gradients{};
  tw_execution execution{};

 private:
  void set_options(const Case& drawn, const Setup& setup);
  void set_scores(const Case& drawn, const Setup& setup);
  void set_gradients(const Setup& setup);
  void set_execution(const Case& drawn);
  void select(tw_operation operation);
  Outcome workspace_without_data(tw_operation operation, std::size_t& bytes);

  tw_tensor output_{}, probabilities_{}, output_gradient_factor_{};
  tw_parallel parallel_{};
  std::int32_t host_workers_ = 3;
  Guarded workspace_;
};

// Restricts later calls to one backend; null allows all. `name` must outlive the calls.
void use_backend(const char* name);

}  // namespace tilewise::conformance
