// Cubins that processes of this user have compiled before. If anything is wrong with the folder or
// a file, the kernel is compiled again.
#pragma once

#include <string>

#include "backends/cuda/compiler/descriptor.h"
#include "backends/cuda/compiler/program.h"
#include "backends/cuda/compiler/sealed.h"
#include "backends/cuda/compiler/surroundings.h"

namespace tilewise::cuda {

// What to do if the folder does not exist.
enum class Missing { kMake, kLeave };

class DiskCache {
 public:
  // Opens the folder. The cache is usable only if the folder belongs to this user alone: otherwise
  // somebody else could have put code there that a GPU is to run.
  explicit DiskCache(const std::string& folder, Missing missing = Missing::kMake);

  // The folder of `around`, which also says why there may be none.
  explicit DiskCache(const Surroundings& around, Missing missing = Missing::kMake);

  bool usable() const { return folder_.open(); }

  // Whether the cache is unusable only because nothing has been kept so far.
  bool is_absent() const { return is_absent_; }

  // Why the cache is not usable, as a sentence.
  const std::string& why_not() const { return why_not_; }

  // Why nothing is kept although the cache is usable, as a sentence; empty if, as far as this
  // process knows, cubins are kept.
  std::string why_not_kept() const;

  bool load(const CacheKey& key, Cubin& out) const;
  bool store(const CacheKey& key, const Cubin& cubin) const;

  // Finds a cubin of this program that the driver loads, whichever NVRTC compiled it; if there are
  // several, takes that of the newest NVRTC. `key` receives its key. Lists the folder.
  bool load_any(const Digest& program, int driver_version, Cubin& out, CacheKey& key) const;

  // Removes the files that the library has put into the folder, and no others; a file that may
  // still be being written stays. Returns how many were removed, and in a sentence what could not
  // be removed. A file that somebody else removes meanwhile is not counted.
  int clear(std::string& why_left) const;
  int clear() const {
    std::string why_left;
    return clear(why_left);
  }

 private:
  void open_own(int parent, const std::string& path, const std::string& name);
  void cannot_open(const std::string& path, const char* as_what);
  void cannot_make(const std::string& path);
  std::string what_is_in_the_way() const;

  Descriptor folder_;
  std::string path_;
  bool is_absent_ = false;
  std::string why_not_;
};

}  // namespace tilewise::cuda
