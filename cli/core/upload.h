// A call's tensors on the device on which it runs.
#pragma once

#include <vector>

#include "cli/core/call.h"
#include "tilewise/tilewise.hpp"

namespace tilewise::cli {

// While an Upload lives, the call's tensors and tables point at device memory, which begins as a
// copy of the host's. For the processor an Upload does nothing.
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

// Checks a request and its tables as for a call on the processor, and throws Failure if that would
// be refused. Call it before an Upload: the library cannot check tables in device memory.
void check_here(tw_operation operation, const Call& call);

// Sets a missing max_length of packed sequences from their offsets; the library does so only for
// offsets on the host. Call it before an Upload.
void bound_lengths(Call& call);

}  // namespace tilewise::cli
