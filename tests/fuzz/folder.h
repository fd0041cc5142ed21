// A temporary folder with a few small .npy files, which leave() restores.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace tilewise::fuzz {

class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  void enter() const;
  // Goes back, and undoes what was done to the files.
  void leave();

 private:
  void add(const std::string& name, const std::string& type, const std::vector<long>& shape);
  void restore(const std::string& name);

  std::string path_;
  int outside_, inside_;  // descriptors of the two folders
  std::map<std::string, std::string> files_;
  std::map<std::string, unsigned long> places_;  // a file's inode, which every replacement changes
};

}  // namespace tilewise::fuzz
