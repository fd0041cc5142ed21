// Finds the NVRTC libraries of this machine by their files, without opening them, because one has
// 100 MB. Only if no file is found that suits the driver does it open libraries, by their bare
// names.
#pragma once

#include <string>
#include <vector>

#include "backends/cuda/compiler/surroundings.h"
#include "backends/cuda/compiler/variant.h"
#include "problem/status.h"

namespace tilewise::cuda {

struct NvrtcFile {
  std::string path;      // or a bare name for the loader
  std::string builtins;  // the library that NVRTC opens to compile; empty if not found
  int version = 0;       // 12080 is 12.8; 0 if unknown until it is open
  bool exact = false;    // otherwise the major is right and the minor is a guess
  long long bytes = 0;   // distinguishes releases of the same version
};

// Libraries that work with this driver, best first. A driver loads cubins of its own major version
// or older ones, whatever the minor.
Status find_nvrtc(const Surroundings& around, int driver_version, std::vector<NvrtcFile>& found);

// Fail with the reason if cubins of this library are of no use: check_driver if the driver is too
// old, check_target also if the library does not know the GPU. If file.exact is false, the version
// is a guess and the GPU is not checked: call them again after opening the library.
Status check_driver(const NvrtcFile& file, int driver_version);
Status check_target(const NvrtcFile& file, const Target& target);

}  // namespace tilewise::cuda
