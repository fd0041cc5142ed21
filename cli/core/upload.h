// A call's tensors on the device on which it runs.
#pragma once

#include <vector>

#include "cli/core/call.h"
#include "tilewise/tilewise.hpp"

namespace tilewise::cli {

// While it lives, the call's tensors and tables point at device memory, which begins as a copy of
// the host's. For the processor it does nothing.
class Upload {
 public:
  Upload(Call& call, tw_device device);
  Upload(const Upload&) = delete;
  Upload& operator=(const Upload&) = delete;
  ~Upload();

  // Waits for the calls so far and copies what they wrote back to the host.
  void fetch();

  [[nodiscard]] double bytes() const { return bytes_; }

 private:
  struct Moved {
    tw_tensor* tensor;
    void* host;
    DeviceMemory there;
    bool is_output;
  };

  void move(tw_tensor& tensor, bool is_output);
  void point_back();

  tw_device device_;
  std::vector<Moved> moved_;
  double bytes_ = 0;
};

// Checks a request and its tables as the processor's backend would, and throws Failure if it
// refuses. Call it before an Upload: nobody checks tables in device memory before a call.
void check_here(tw_operation operation, const Call& call);

// Sets a missing max_length of packed sequences from their offsets, which a device call does not do
// by itself. Call it before an Upload, while the offsets lie on the host.
void bound_lengths(Call& call);

}  // namespace tilewise::cli
