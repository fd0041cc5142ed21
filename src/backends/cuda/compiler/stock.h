// What there is already of the kernels: the pack, the disk cache, and which NVRTC would make the
// rest. It is looked at and nothing is compiled.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "backends/cuda/compiler/disk_cache.h"
#include "backends/cuda/compiler/pack.h"
#include "backends/cuda/compiler/surroundings.h"
#include "backends/cuda/compiler/variant.h"

namespace tilewise::cuda {

class Stock {
 public:
  // `around` has to live as long. The version is that of the driver that will load the kernels.
  Stock(const Surroundings& around, int driver_version);

  // What a call would find without compiling: a cubin of the pack or of the cache; or, where no
  // NVRTC knows the GPU, PTX of the pack. False where NVRTC would be asked, or would have to be
  // there.
  bool find(const Variant& variant, const Target& target, Cubin& out) const;

  const Pack& pack() const { return pack_; }
  const DiskCache& cache() const { return cache_; }

  // "12.8 (/path/libnvrtc.so.12)"; empty where there is none, and then a sentence says why not and
  // what to install.
  const std::string& nvrtc() const { return nvrtc_; }
  const std::string& why_no_nvrtc() const { return why_no_nvrtc_; }

  // Why none would compile for the target, as a sentence; empty where one would.
  std::string why_not_compiled(const Target& target) const;

  // Where a call's kernels come from, in words.
  std::string origin(std::span<const Variant* const> variants, const Target& target) const;

 private:
  const NvrtcFile* nvrtc_for(const Target& target) const;
  std::string origin_of_missing(int missing, const Target& target) const;

  const Surroundings& around_;
  Pack pack_;
  DiskCache cache_;
  std::vector<NvrtcFile> files_;  // the best first
  std::string nvrtc_, why_no_nvrtc_;
};

}  // namespace tilewise::cuda
