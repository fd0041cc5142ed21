// Cubins that this user's processes have compiled before. Whatever is wrong with the folder or a
// file in it, a call goes on without: it compiles.
#pragma once

#include <string>

#include "backends/cuda/compiler/descriptor.h"
#include "backends/cuda/compiler/sealed.h"

namespace tilewise::cuda {

class DiskCache {
 public:
  // Opens the folder, which it makes where it is missing. Unusable when it is not a folder of this
  // user's alone: others could have put there what a GPU is to run.
  explicit DiskCache(const std::string& folder);

  bool usable() const { return folder_.open(); }

  // Why it is not usable, as a sentence.
  const std::string& why_not() const { return why_not_; }

  bool load(const Digest& key, Cubin& out) const;
  bool store(const Digest& key, const Cubin& cubin) const;

  // Removes all that the library has put there; says how many files that was.
  int clear() const;

 private:
  void open_own(int parent, const std::string& path, const std::string& name);

  Descriptor folder_;
  std::string why_not_;
};

}  // namespace tilewise::cuda
