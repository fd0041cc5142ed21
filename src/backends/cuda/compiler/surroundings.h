// What the environment tells the compiler: where to search NVRTC, where to keep cubins. A value, so
// that tests can make their own.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace tilewise::cuda {

struct Surroundings {
  std::string nvrtc;                // TILEWISE_NVRTC: this library only; empty: search
  std::vector<std::string> places;  // folders to search, as glob patterns
  bool by_name = true;              // whether the loader's folders are searched, too
  std::string cache;                // the folder of the disk cache; empty if there is none
  std::string why_no_cache;         // a sentence, if there is none
  std::string dump;                 // TILEWISE_DUMP: the folder for texts, PTX and cubins
  std::span<const std::byte> pack;  // cubins that were compiled ahead of time
};

// Escapes a path so that, as a glob pattern, it matches only itself; and the reverse.
std::string pattern_of(const std::string& path);
std::string path_of(const std::string& pattern);

Surroundings surroundings_of_environment();

// The surroundings of the process: read at the first call and then kept.
const Surroundings& surroundings();

// Adds a folder of NVRTC or of Python packages to surroundings().
void add_folder_of_nvrtc(const std::string& folder);

}  // namespace tilewise::cuda
