// Finds the NVRTC libraries of this machine, without opening them as long as files can be seen: one
// has 100 MB.
#pragma once

#include <string>
#include <vector>

#include "backends/cuda/compiler/surroundings.h"
#include "backends/cuda/compiler/variant.h"
#include "problem/status.h"

namespace tilewise::cuda {

struct NvrtcFile {
  std::string path;      // or a bare name, for the loader to find
  std::string builtins;  // the library that NVRTC opens when it compiles; empty: not found
  int version = 0;       // 12080 is 12.8; 0: unknown before it is open
  bool exact = false;    // else the major is right and the minor a guess
  long long bytes = 0;   // tells two releases of one version apart
};

// Those that a driver of this version can work with, the best first. The driver loads a cubin of
// its own major or an older one, whatever the minor.
Status find_nvrtc(const Surroundings& around, int driver_version, std::vector<NvrtcFile>& found);

// Why what this one compiles is of no use there: the driver is older, or it does not know the GPU.
// What has no exact version is to be asked again when it is open.
Status check_driver(const NvrtcFile& file, int driver_version);
Status check_target(const NvrtcFile& file, const Target& target);

}  // namespace tilewise::cuda
