#include "backends/cuda/compiler/nvrtc_search.h"

#include <dlfcn.h>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iterator>

#include "problem/structs.h"

namespace tilewise::cuda {
namespace {

constexpr int kOldestMajor = 12;  // the oldest that compiles C++20
constexpr int kNewestMajor = 19;  // the newest that is searched for

std::vector<std::string> matches(const std::string& pattern) {
  glob_t found{};
  std::vector<std::string> paths;
  if (glob(pattern.c_str(), 0, nullptr, &found) == 0)
    paths.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  globfree(&found);
  return paths;
}

std::string folder_of(const std::string& path) {
  return path.substr(0, path.rfind('/') + 1);
}

// The path with links resolved; empty if there is nothing.
std::string real_path(const std::string& path) {
  char* real = realpath(path.c_str(), nullptr);
  std::string result = real ? real : "";
  std::free(real);
  return result;
}

// 12080 for "…/libnvrtc.so.12.8.93" and "…/libnvrtc-builtins.so.12.8"; 12000 for ".so.12".
int version_in(const std::string& path, bool& exact) {
  const std::size_t at = path.rfind(".so.");
  int major = 0, minor = 0;
  const int read =
      at == std::string::npos ? 0 : std::sscanf(path.c_str() + at, ".so.%d.%d", &major, &minor);
  exact = read == 2;
  return major * 1000 + minor * 10;
}

bool is_regular(const std::string& path) {
  struct stat about {};
  return stat(path.c_str(), &about) == 0 && S_ISREG(about.st_mode);
}

// NVRTC's file name has the major version and sometimes the minor. If not, the minor is taken from
// the name of the builtins library in the same folder. It is then a guess, because that library may
// belong to another release.
void read_version(NvrtcFile& file) {
  const std::string real = real_path(file.path);
  file.version = version_in(real, file.exact);
  if (file.version == 0) file.version = version_in(file.path, file.exact);
  int newest = 0;
  for (const std::string& folder : {folder_of(real), folder_of(file.path)}) {
    for (const std::string& path : matches(pattern_of(folder) + "libnvrtc-builtins.so.*.*")) {
      bool exact = false;
      const int version = version_in(path, exact);
      const bool is_likely = file.version == 0 || version / 1000 == file.version / 1000;
      if (!exact || !is_likely || version <= newest || !is_regular(path)) continue;
      if (file.exact && version != file.version) continue;
      newest = version;
      file.builtins = path;
    }
  }
  if (newest != 0 && file.version != 0) file.version = newest;
}

bool describe_file(const std::string& path, NvrtcFile& file) {
  struct stat about {};
  if (stat(path.c_str(), &about) != 0 || !S_ISREG(about.st_mode)) return false;
  file.path = path;
  file.bytes = about.st_size;
  read_version(file);
  return true;
}

// The oldest NVRTC that knows GPUs of this generation. A generation that is not listed here and is
// newer than 9.0 needs an NVRTC newer than any that is listed.
int oldest_for(int generation) {
  constexpr int kNewestMet = 13000;
  constexpr struct {
    int generation, version;
  } kSince[] = {{100, 12080}, {101, 12080}, {120, 12080},     {103, 12090},
                {121, 12090}, {88, 13000},  {110, kNewestMet}};
  for (const auto& each : kSince)
    if (each.generation == generation) return each.version;
  return generation <= 90 ? kOldestMajor * 1000 : kNewestMet + 10;
}

// The package to install: that of CUDA 12 if the driver is unknown, since all drivers that Tilewise
// supports load its cubins.
const char* package_for(int driver_version) {
  constexpr int kAnyDriver = 99000;
  return driver_version >= 13000 && driver_version < kAnyDriver ? "nvidia-cuda-nvrtc"
                                                                : "nvidia-cuda-nvrtc-cu12";
}

}  // namespace

Status check_driver(const NvrtcFile& file, int driver_version) {
  if (file.version / 1000 <= driver_version / 1000) return {};
  return failed(
      "NVRTC %d.%d (%s) is newer than the driver, which is of CUDA %d.%d and cannot load what it "
      "compiles: install an older one (pip install %s) or a newer driver.",
      file.version / 1000, file.version / 10 % 100, file.path.c_str(), driver_version / 1000,
      driver_version / 10 % 100, package_for(driver_version));
}

Status check_target(const NvrtcFile& file, const Target& target) {
  TW_TRY(check_driver(file, target.driver_version));
  const int generation = target.major * 10 + target.minor;
  const int oldest = oldest_for(generation);
  if (!file.exact || file.version >= oldest) return {};
  return failed(
      "NVRTC %d.%d (%s) does not know sm_%d: install a newer one, from %d.%d on, that is not newer "
      "than the driver.",
      file.version / 1000, file.version / 10 % 100, file.path.c_str(), generation, oldest / 1000,
      oldest / 10 % 100);
}

namespace {

Status the_named_one(const std::string& path, int driver_version, std::vector<NvrtcFile>& found) {
  NvrtcFile file;
  file.path = path;
  if (path.find('/') == std::string::npos)
    file.version = version_in(path, file.exact);
  else if (!describe_file(path, file))
    return failed(
        "TILEWISE_NVRTC names %s, which is no file: give it the path of a libnvrtc.so, or "
        "unset it to have NVRTC searched.",
        path.c_str());
  TW_TRY(check_driver(file, driver_version));
  found.push_back(file);
  return {};
}

// Of several links to one library only the first is kept.
void add(const std::string& path, std::vector<NvrtcFile>& found) {
  if (access(path.c_str(), F_OK) != 0) return;
  const std::string real = real_path(path);
  for (const NvrtcFile& other : found)
    if (real_path(other.path) == real) return;
  NvrtcFile file;
  if (describe_file(path, file) && file.version / 1000 >= kOldestMajor) found.push_back(file);
}

// Tries names, because listing a folder of a distribution takes milliseconds.
void add_from(const std::string& folder, std::vector<NvrtcFile>& found) {
  for (int major = kOldestMajor; major <= kNewestMajor; ++major)
    add(folder + "/libnvrtc.so." + std::to_string(major), found);
  // Torch's wheels add a hash of eight characters to the name. This pattern also matches
  // libnvrtc-builtins, because "builtins" has eight letters.
  if (!folder.ends_with("/torch/lib")) return;
  for (const std::string& path : matches(pattern_of(folder) + "/libnvrtc-????????.so.1[2-9]*"))
    if (path.find("libnvrtc-builtins") == std::string::npos) add(path, found);
}

// The last resort: names without a folder, which the loader may find. Only opening shows whether.
void add_by_name(int driver_version, std::vector<NvrtcFile>& found) {
  for (int major = std::min(driver_version / 1000, kNewestMajor); major >= kOldestMajor; --major) {
    NvrtcFile file;
    file.path = "libnvrtc.so." + std::to_string(major);
    file.version = major * 1000;
    if (!dlopen(file.path.c_str(), RTLD_NOW | RTLD_LOCAL)) continue;
    found.push_back(file);
    return;
  }
}

std::string listed(const std::vector<std::string>& places) {
  constexpr std::size_t kMostShown = 400;  // bytes; a Status has 768
  std::string text;
  for (const std::string& place : places) {
    const std::string path = path_of(place);
    if (text.size() + path.size() > kMostShown)
      return text + (text.empty() ? "" : ", ") + "and more places";
    text += (text.empty() ? "" : ", ") + path;
  }
  return text;
}

}  // namespace

Status find_nvrtc(const Surroundings& around, int driver_version, std::vector<NvrtcFile>& found) {
  found.clear();
  if (!around.nvrtc.empty()) return the_named_one(around.nvrtc, driver_version, found);
  for (const std::string& place : around.places)
    for (const std::string& folder : matches(place)) add_from(folder, found);
  std::stable_sort(found.begin(), found.end(),
                   [](const NvrtcFile& a, const NvrtcFile& b) { return a.version > b.version; });
  const auto first = std::find_if(found.begin(), found.end(), [&](const NvrtcFile& file) {
    return check_driver(file, driver_version).ok();
  });
  const NvrtcFile newer = first == found.begin() ? NvrtcFile() : *std::prev(first);
  found.erase(found.begin(), first);
  // Without its builtins library NVRTC opens but cannot compile, so such libraries come last.
  std::stable_partition(found.begin(), found.end(),
                        [](const NvrtcFile& file) { return !file.builtins.empty(); });
  if (found.empty() && around.by_name) add_by_name(driver_version, found);
  if (!found.empty()) return {};
  if (!newer.path.empty()) return check_driver(newer, driver_version);
  return failed(
      "NVRTC, the GPU's run-time compiler, was not found: pip install %s, or set TILEWISE_NVRTC to "
      "the path of a libnvrtc.so. Searched: %s%s.",
      package_for(driver_version), around.by_name ? "where the loader looks, " : "",
      listed(around.places).c_str());
}

}  // namespace tilewise::cuda
