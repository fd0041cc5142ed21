// Output files that appear only after everything has succeeded: each is written under a temporary
// name beside its place, and commit() renames them all, one after another.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tilewise::cli {

class OutputFiles {
 public:
  OutputFiles() = default;
  OutputFiles(const OutputFiles&) = delete;
  OutputFiles& operator=(const OutputFiles&) = delete;
  ~OutputFiles();

  // Names a file that this run reads, so that no output replaces it.
  void keep(const std::string& path);
  // Checks that the file can be written and that no other output goes there. Throws Failure.
  void reserve(const std::string& path);
  void write(const std::string& path, std::string_view prelude, std::span<const std::byte> data);
  void commit();

 private:
  struct Entry {
    std::string path;       // as given
    std::string place;      // with links followed
    std::string temporary;  // empty once renamed
    int descriptor;
    std::size_t slot;  // in the list of names that an interrupt removes
  };
  std::vector<Entry> entries_;
  std::vector<std::string> kept_;
};

// From this call on SIGINT, SIGTERM and SIGHUP remove unfinished files before they end the program.
void remove_unfinished_on_interrupt();

}  // namespace tilewise::cli
