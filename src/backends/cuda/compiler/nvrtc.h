// NVRTC, the GPU's run-time compiler, opened at run time by declarations of our own: nothing of
// CUDA is needed to build the library.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "backends/cuda/compiler/nvrtc_search.h"
#include "backends/cuda/compiler/sources.h"

namespace tilewise::cuda {

// What NVRTC is given.
struct Program {
  std::string name;  // of the file that messages and profilers show
  std::string text;
  std::vector<std::string> options;  // the target among them
};

// What ptxas says of a kernel. -1: it said nothing.
struct Resources {
  int registers = -1, spill_bytes = -1, local_bytes = -1, shared_bytes = -1;
};

struct Compiled {
  std::vector<std::byte> cubin;  // empty where the target is PTX
  std::string ptx;
  std::string log;  // warnings
  Resources resources;
  double seconds = 0;
};

class Nvrtc {
 public:
  // Opens the library, for good: NVRTC's threads and exit handlers do not survive its closing.
  // Where the version was a guess, it is known afterwards.
  static Status open(NvrtcFile& file, Nvrtc& out);

  // `headers` by the names that the text includes them by. A failure holds the first lines of what
  // the compiler said. TW_UNSUPPORTED: it is for a reason of this NVRTC's own, and another one may
  // compile it.
  Status compile(const Program& program, std::span<const Source> headers, Compiled& out) const;

 private:
  using Handle = void*;
  struct Calls {
    int (*version)(int* major, int* minor) = nullptr;
    int (*create)(Handle*, const char* text, const char* name, int headers,
                  const char* const* texts, const char* const* names) = nullptr;
    int (*compile)(Handle, int options, const char* const* texts) = nullptr;
    int (*destroy)(Handle*) = nullptr;
    int (*log_bytes)(Handle, std::size_t*) = nullptr;
    int (*log)(Handle, char*) = nullptr;
    int (*cubin_bytes)(Handle, std::size_t*) = nullptr;
    int (*cubin)(Handle, char*) = nullptr;
    int (*ptx_bytes)(Handle, std::size_t*) = nullptr;
    int (*ptx)(Handle, char*) = nullptr;
  };

  static Status find_calls(void* library, const char* path, Calls& calls);
  Status run(Handle handle, const Program& program, Compiled& out) const;

  Calls calls_;
  std::string path_;
  int version_ = 0;
};

}  // namespace tilewise::cuda
