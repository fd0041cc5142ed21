// A call's tensors on the device on which it runs.
#pragma once

#include <vector>

#include "cli/core/call.h"
#include "tilewise/tilewise.hpp"

namespace tilewise::cli {

// For as long as this lives the call's tensors and tables point at the device's memory, which began
// as a copy of the host's. For the processor nothing is copied and nothing changes.
class Upload {
 public:
  Upload(Call& call, tw_device device);
  Upload(const Upload&) = delete;
  Upload& operator=(const Upload&) = delete;
  ~Upload();

  // Brings back what the calls until now have written, once they are done.
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

// A request whose tables the processor, who reads them, would refuse is a Failure. On a device
// nobody looks.
void check_here(tw_operation operation, const Call& call);

// Nor does anybody look there how long packed sequences are: a call that does not say so gets it
// from its offsets, as long as they lie on the host.
void bound_lengths(Call& call);

}  // namespace tilewise::cli
