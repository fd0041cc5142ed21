// An NVRTC that compiles nothing: its cubins are good enough for fake_cuda.cpp. A copy in a folder
// named `thirteen` is of that version, one in `alone` does not find its second library, and one in
// `unwilling` fails by itself.
#include <dlfcn.h>

#include <cstddef>
#include <cstring>

namespace {

constexpr char kCubin[] = "a cubin";
int program = 0;

bool lies_in(const char* folder) {
  Dl_info about{};
  return dladdr(&program, &about) != 0 && std::strstr(about.dli_fname, folder) != nullptr;
}

}  // namespace

extern "C" {

int nvrtcVersion(int* major, int* minor) {
  *major = lies_in("/thirteen/") ? 13 : 12;
  *minor = lies_in("/thirteen/") ? 0 : 8;
  return 0;
}

int nvrtcCreateProgram(void** handle, const char*, const char*, int, const char* const*,
                       const char* const*) {
  *handle = &program;
  return 0;
}

int nvrtcCompileProgram(void*, int, const char* const*) {
  constexpr int kNoBuiltins = 7, kInternalError = 11;
  if (lies_in("/unwilling/")) return kInternalError;
  return lies_in("/alone/") ? kNoBuiltins : 0;
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
