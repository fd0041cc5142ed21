#include "backends/cuda/compiler/surroundings.h"

#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <string_view>
#include <utility>

#include "backends/cuda/compiler/pack.h"

namespace tilewise::cuda {
namespace {

// In a program with more rights than its user (setuid), the user must not choose libraries.
std::string variable(const char* name) {
  const char* value = secure_getenv(name);
  return value ? value : "";
}

bool absolute(const std::string& path) {
  return path.starts_with('/');
}

// The places below are glob patterns; parts that come from the environment are escaped.

// Adds the places of Python packages below `folder`, a pattern: nvidia-cuda-nvrtc-cu12,
// nvidia-cuda-nvrtc, and the folder of older torch wheels.
void add_packages(const std::string& folder, std::vector<std::string>& places) {
  for (const char* package : {"/nvidia/cuda_nvrtc/lib", "/nvidia/cu1[2-9]/lib", "/torch/lib"})
    places.push_back(folder + package);
}

void add_folder(const std::string& folder, std::vector<std::string>& places) {
  places.push_back(pattern_of(folder));
  add_packages(pattern_of(folder), places);
}

// The absolute paths in a colon-separated list.
std::vector<std::string> folders_of(const std::string& list) {
  std::vector<std::string> folders;
  for (std::size_t begin = 0; begin < list.size();) {
    const std::size_t end = std::min(list.find(':', begin), list.size());
    const std::string folder = list.substr(begin, end - begin);
    begin = end + 1;
    if (absolute(folder)) folders.push_back(folder);
  }
  return folders;
}

// Adds the places of a CUDA toolkit in `folder`, a pattern. They do not include `stubs`, whose
// libraries cannot compile.
void add_toolkit(const std::string& folder, std::vector<std::string>& places) {
  places.push_back(folder + "/lib64");
  places.push_back(folder + "/targets/*/lib");
}

// The folder of Python packages that contains this library, if it comes from a wheel; else empty.
std::string own_packages() {
  static const char here = 0;
  Dl_info about{};
  if (dladdr(&here, &about) == 0 || !about.dli_fname) return "";
  const std::string path = about.dli_fname, folder = path.substr(0, path.rfind('/') + 1);
  constexpr std::string_view kPackage = "/tilewise/";
  if (!absolute(folder) || !folder.ends_with(kPackage)) return "";
  return folder.substr(0, folder.size() - kPackage.size());
}

std::vector<std::string> places_of_nvrtc() {
  std::vector<std::string> places;
  // The variable names folders of NVRTC itself, or of Python packages.
  for (const std::string& folder : folders_of(variable("TILEWISE_NVRTC_PATH"))) {
    add_folder(folder, places);
  }
  if (const std::string own = own_packages(); !own.empty()) add_packages(pattern_of(own), places);
  const std::string home = variable("HOME"), conda = variable("CONDA_PREFIX");
  for (const std::string& root :
       {variable("VIRTUAL_ENV"), conda, home.empty() ? home : home + "/.local",
        std::string("/usr/local"), std::string("/usr")}) {
    if (absolute(root)) add_packages(pattern_of(root) + "/lib/python3*/*-packages", places);
  }
  if (absolute(conda)) {
    places.push_back(pattern_of(conda) + "/lib");
    places.push_back(pattern_of(conda) + "/targets/*/lib");
  }
  for (const char* name : {"CUDA_HOME", "CUDA_PATH"})
    if (const std::string toolkit = variable(name); absolute(toolkit))
      add_toolkit(pattern_of(toolkit), places);
  add_toolkit("/usr/local/cuda", places);
  add_toolkit("/usr/local/cuda-1[2-9]*", places);
  for (const std::string& folder : folders_of(variable("LD_LIBRARY_PATH")))
    places.push_back(pattern_of(folder));
  for (const char* folder : {"/usr/lib/*-linux-gnu", "/usr/lib64"}) places.emplace_back(folder);
  return places;
}

bool below_shared_folder(const std::string& path) {
  for (const char* shared : {"/tmp/", "/var/tmp/", "/dev/shm/"})
    if ((path + '/').starts_with(shared)) return true;
  return false;
}

// The folder that TILEWISE_CACHE names; if that is set and empty, there is no cache. If it is not
// set, a folder in the user's cache folder, unless that lies in a folder where everybody may write
// (below_shared_folder), as in some containers.
std::string cache_folder(std::string& why_not) {
  if (const char* named = secure_getenv("TILEWISE_CACHE")) {
    why_not = *named ? "" : "TILEWISE_CACHE is set and empty.";
    return named;
  }
  std::string folder = variable("XDG_CACHE_HOME");
  if (!absolute(folder)) {
    folder = variable("HOME");
    why_not = "HOME names no folder: name one in TILEWISE_CACHE.";
    if (!absolute(folder)) return "";
    folder += "/.cache";
  }
  why_not = folder + " lies where everybody may write: name another folder in TILEWISE_CACHE.";
  if (below_shared_folder(folder)) return "";
  why_not.clear();
  return folder + "/tilewise";
}

// The surroundings of the process. Once published, a value is never changed or destroyed: other
// threads may read an old one, even while the process ends.
std::atomic<const Surroundings*> kept{nullptr};
std::mutex adding;

std::vector<std::string>& added_folders() {
  static std::vector<std::string>& folders = *new std::vector<std::string>;
  return folders;
}

void keep(std::unique_ptr<const Surroundings> newest) {
  static auto& all = *new std::vector<std::unique_ptr<const Surroundings>>;
  all.push_back(std::move(newest));
  kept.store(all.back().get(), std::memory_order_release);
}

}  // namespace

std::string pattern_of(const std::string& path) {
  std::string pattern;
  for (const char each : path) {
    if (std::strchr("*?[]\\", each)) pattern += '\\';
    pattern += each;
  }
  return pattern;
}

std::string path_of(const std::string& pattern) {
  std::string path;
  for (std::size_t at = 0; at < pattern.size(); ++at) {
    if (pattern[at] == '\\' && at + 1 < pattern.size()) ++at;
    path += pattern[at];
  }
  return path;
}

Surroundings surroundings_of_environment() {
  Surroundings read;
  read.nvrtc = variable("TILEWISE_NVRTC");
  read.places = places_of_nvrtc();
  read.cache = cache_folder(read.why_no_cache);
  read.dump = variable("TILEWISE_DUMP");
  read.pack = built_in_pack();
  return read;
}

const Surroundings& surroundings() {
  if (const Surroundings* now = kept.load(std::memory_order_acquire)) return *now;
  const std::lock_guard lock(adding);
  if (!kept) {
    auto read = std::make_unique<Surroundings>(surroundings_of_environment());
    for (const std::string& folder : added_folders()) add_folder(folder, read->places);
    keep(std::move(read));
  }
  return *kept;
}

void add_folder_of_nvrtc(const std::string& folder) {
  const std::lock_guard lock(adding);
  std::vector<std::string>& all = added_folders();
  if (std::find(all.begin(), all.end(), folder) != all.end()) return;
  all.push_back(folder);
  if (!kept) return;
  auto more = std::make_unique<Surroundings>(*kept);
  add_folder(folder, more->places);
  keep(std::move(more));
}

}  // namespace tilewise::cuda
