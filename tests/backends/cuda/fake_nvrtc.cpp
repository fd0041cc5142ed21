// An NVRTC that compiles nothing: its cubins are good enough for fake_cuda.cpp. A copy in a folder
// named `thirteen` is of that version, one in `alone` does not find its second library, and one in
// `unwilling` fails by itself.
#include <dlfcn.h>

#include <atomic>
#include <cstddef>
#include <cstring>

namespace {

constexpr char kCubin[] = "a cubin";
int program = 0;

bool lies_in(const char* folder) {
  Dl_info about{};
  return dladdr(&program, &about) != 0 && std::strstr(about.dli_fname, folder) != nullptr;
}

// Stored when the library is loaded, by the thread that loads it. ThreadSanitizer does not see the
// lock by which dlopen orders threads, so it would report a later look at the file's name, which
// dlopen wrote, as a race.
std::atomic<bool> is_thirteen = false, is_alone = false, is_unwilling = false;
const bool kIsFound = [] {
  is_thirteen = lies_in("/thirteen/");
  is_alone = lies_in("/alone/");
  is_unwilling = lies_in("/unwilling/");
  return true;
}();

}  // namespace

extern "C" {

int nvrtcVersion(int* major, int* minor) {
  *major = is_thirteen ? 13 : 12;
  *minor = is_thirteen ? 0 : 8;
  return 0;
}

int nvrtcCreateProgram(void** handle, const char*, const char*, int, const char* const*,
                       const char* const*) {
  *handle = &program;
  return 0;
}

int nvrtcCompileProgram(void*, int, const char* const*) {
  constexpr int kNoBuiltins = 7, kInternalError = 11;
  if (is_unwilling) return kInternalError;
  return is_alone ? kNoBuiltins : 0;
}

int nvrtcDestroyProgram(void** handle) {
  *handle = nullptr;
  return 0;
}

int nvrtcGetProgramLogSize(void*, std::size_t* bytes) {
  *bytes = 0;
  return 0;
}

int nvrtcGetProgramLog(void*, char*) {
  return 0;
}

int nvrtcGetCUBINSize(void*, std::size_t* bytes) {
  *bytes = sizeof kCubin;
  return 0;
}

int nvrtcGetCUBIN(void*, char* to) {
  std::memcpy(to, kCubin, sizeof kCubin);
  return 0;
}

int nvrtcGetPTXSize(void*, std::size_t* bytes) {
  *bytes = 0;
  return 0;
}

int nvrtcGetPTX(void*, char*) {
  return 0;
}

}  // extern "C"
