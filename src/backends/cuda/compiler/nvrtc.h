// NVRTC, the run-time compiler for GPUs, opened at run time with declarations of our own: building
// the library needs nothing of CUDA.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "backends/cuda/compiler/nvrtc_search.h"
#include "backends/cuda/compiler/sources.h"

namespace tilewise::cuda {

// The input of NVRTC.
struct Program {
  std::string name;  // of the file, as messages and profilers show it
  std::string text;
  std::vector<std::string> options;  // including the target
};

// What ptxas reports of a kernel; -1 if it reported nothing.
struct Resources {
  int registers = -1, spill_bytes = -1, local_bytes = -1, shared_bytes = -1;
};

struct Compiled {
  std::vector<std::byte> cubin;  // empty if the target is PTX
  std::string ptx;
  std::string log;  // warnings
  Resources resources;
  double seconds = 0;
};

class Nvrtc {
 public:
  // Opens the library and never closes it: NVRTC's threads and exit handlers would not survive
  // closing. If the version was a guess, `file` has the true one afterwards.
  static Status open(NvrtcFile& file, Nvrtc& out);

  // `headers` have the names by which the text includes them. A failure holds the first lines of
  // the compiler's log. TW_UNSUPPORTED means that the cause is this NVRTC; another one may succeed.
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
