// What the environment says to the compiler: where NVRTC may lie, where cubins are kept. A value,
// so that a test can make one of its own.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace tilewise::cuda {

struct Surroundings {
  std::string nvrtc;                // TILEWISE_NVRTC: this library and no other; empty: search
  std::vector<std::string> places;  // folders to search, as patterns of glob
  bool by_name = true;              // also where the loader looks by itself
  std::string cache;                // the folder of the disk cache; empty: none
  std::string why_no_cache;         // then, as a sentence
  std::string dump;                 // TILEWISE_DUMP: the folder where what is made is left
  std::span<const std::byte> pack;  // cubins that were made ahead of time
};

// A path as a pattern of glob that means this path alone, whatever its folders are called; and
// back.
std::string pattern_of(const std::string& path);
std::string path_of(const std::string& pattern);

Surroundings surroundings_of_environment();

// The same, read by the first call of the process and then kept.
const Surroundings& surroundings();

// Of NVRTC itself or of Python packages: one more that surroundings() has from then on.
void add_folder_of_nvrtc(const std::string& folder);

}  // namespace tilewise::cuda
