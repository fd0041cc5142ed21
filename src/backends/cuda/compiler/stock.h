// What is available without compiling: the pack, the disk cache, and the NVRTC that would compile
// the rest. It compiles no kernel, only an empty program to see whether an NVRTC works. Not thread
// safe.
#pragma once

#include <map>
#include <span>
#include <string>
#include <utility>

#include "backends/cuda/compiler/compilers.h"
#include "backends/cuda/compiler/disk_cache.h"
#include "backends/cuda/compiler/pack.h"
#include "backends/cuda/compiler/surroundings.h"
#include "backends/cuda/compiler/variant.h"

namespace tilewise::cuda {

class Stock {
 public:
  // `around` must outlive this. The version is that of the driver that will load the kernels.
  Stock(const Surroundings& around, int driver_version);

  // Finds a kernel without compiling it: a cubin of the pack or the cache; or PTX of the pack, if
  // no NVRTC works for the GPU. Returns false if there is none, whether or not an NVRTC would
  // compile it.
  bool find(const Variant& variant, const Target& target, Cubin& out) const;

  const Pack& pack() const { return pack_; }
  const DiskCache& cache() const { return cache_; }

  // "12.8 (/path/libnvrtc.so.12)": the library that compiles for the target; empty if none does.
  std::string nvrtc(const Target& target) const;

  // Why no library compiles for the target and what to install, as a sentence; empty if one does.
  std::string why_not_compiled(const Target& target) const;

  // Where a call's kernels come from, in words.
  std::string origin(std::span<const Variant* const> variants, const Target& target) const;

 private:
  struct Found {
    bool is_there = false;
    Stop stop;
    Status why_not;  // if there is neither a cubin nor a working NVRTC
  };

  Found look(const Variant& variant, const Target& target, Cubin& out) const;
  Status choose(const Target& target, NvrtcFile& file) const;
  Status walk(const Program& program, const Target& target, const DiskCache& cache, Cubin& kept,
              Stop& stop) const;
  Status try_out(const Nvrtc& nvrtc, const NvrtcFile& file, const Target& target) const;
  std::string origin_of_missing(int missing, const Found& found, const Target& target) const;

  const Surroundings& around_;
  Pack pack_;
  DiskCache cache_;
  Compilers compilers_;
  // By path and architecture.
  mutable std::map<std::pair<std::string, std::string>, Status> failed_;
};

}  // namespace tilewise::cuda
