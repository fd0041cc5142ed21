#include "fuzz/folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "cli/npy_header.h"
#include "fuzz/answer.h"

namespace tilewise::fuzz {

Folder::Folder() {
  path_ = (std::filesystem::temp_directory_path() / "tilewise_fuzz.XXXXXX").string();
  if (!mkdtemp(path_.data())) wrong("there is no place for a temporary folder");
  outside_ = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  inside_ = open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  enter();
  add("q", "<f4", {2, 5, 4, 3});
  add("k", "<f4", {2, 6, 2, 3});
  add("v", "<f4", {2, 6, 2, 2});
  add("g", "<f4", {2, 5, 4, 2});
  add("tokens", "<f4", {5, 2, 3});
  add("bias", "<f4", {1, 4, 5, 6});
  add("mask", "|b1", {2, 1, 5, 6});
  add("blocks", "|b1", {1, 1, 1, 1});
  add("heads", "<f4", {4});
  add("offsets", "<i8", {3});
  add("index", "<i4", {2});
  add("table", "<i4", {2, 1});
  add("wide", "<f8", {2, 5, 4, 3});
  add("bits", "<u2", {2, 5, 4, 3});
  add("many", "<f4", {1, 1, 1, 1, 1});
  add("none", "<f4", {0, 5, 4, 3});
  files_["text"] = "This is no array.\n";
  files_["cut"] = files_["q"].substr(0, 90);
  for (const auto& [name, bytes] : files_) restore(name);
  leave();
}

Folder::~Folder() {
  close(outside_);
  close(inside_);
  std::filesystem::remove_all(path_);
}

// Bytes of 0, so that offsets and tables are right and scores are equal.
void Folder::add(const std::string& name, const std::string& type, const std::vector<long>& shape) {
  std::size_t bytes = static_cast<std::size_t>(type.back() - '0');
  for (const long size : shape) bytes *= static_cast<std::size_t>(size);
  files_[name] =
      cli::make_npy_prelude(type, {shape.begin(), shape.end()}) + std::string(bytes, '\0');
}

void Folder::restore(const std::string& name) {
  std::filesystem::remove_all(name);
  std::ofstream(name, std::ios::binary) << files_.at(name);
  struct stat status = {};
  if (stat(name.c_str(), &status) != 0) wrong("%s cannot be written", name.c_str());
  places_[name] = status.st_ino;
}

void Folder::enter() const {
  if (fchdir(inside_) != 0) wrong("the temporary folder is gone");
}

void Folder::leave() {
  std::vector<std::string> strange, same;
  DIR* listing = opendir(".");
  while (const dirent* entry = readdir(listing)) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    const auto place = places_.find(name);
    const bool is_same = place != places_.end() && place->second == entry->d_ino;
    (is_same ? same : strange).push_back(name);
  }
  closedir(listing);
  for (const std::string& name : strange) {
    std::filesystem::remove_all(name);
  }
  for (const auto& [name, bytes] : files_) {
    if (std::find(same.begin(), same.end(), name) == same.end()) restore(name);
  }
  if (fchdir(outside_) != 0) wrong("the folder of before is gone");
}

}  // namespace tilewise::fuzz
