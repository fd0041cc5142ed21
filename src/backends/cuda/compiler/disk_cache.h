// Cubins that this user's processes have compiled before. Whatever is wrong with the folder or a
// file in it, a call goes on without: it compiles.
#pragma once

#include <string>

#include "backends/cuda/compiler/descriptor.h"
#include "backends/cuda/compiler/program.h"
#include "backends/cuda/compiler/sealed.h"
#include "backends/cuda/compiler/surroundings.h"

namespace tilewise::cuda {

// What becomes of a folder that is not there.
enum class Missing { kMake, kLeave };

class DiskCache {
 public:
  // Opens the folder. Unusable when it is not a folder of this user's alone: others could have put
  // there what a GPU is to run.
  explicit DiskCache(const std::string& folder, Missing missing = Missing::kMake);

  // That of the surroundings, which know why there is none.
  explicit DiskCache(const Surroundings& around, Missing missing = Missing::kMake);

  bool usable() const { return folder_.open(); }

  // Not usable because nothing has been kept so far.
  bool is_absent() const { return is_absent_; }

  // Why it is not usable, as a sentence.
  const std::string& why_not() const { return why_not_; }

  // Why nothing is kept in one that is usable, as a sentence; empty where something is, as far as
  // this process knows.
  std::string why_not_kept() const;

  bool load(const CacheKey& key, Cubin& out) const;
  bool store(const CacheKey& key, const Cubin& cubin) const;

  // Made of this by any NVRTC whose cubins a driver of that version loads: the newest one's, and
  // its key. Lists the folder.
  bool load_any(const Digest& program, int driver_version, Cubin& out, CacheKey& key) const;

  // Removes all that the library has put there and leaves what it has not; says how many files that
  // was, and in a sentence what could not be removed. What somebody else removes meanwhile is not
  // left.
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
