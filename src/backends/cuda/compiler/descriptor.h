// A file or folder descriptor that closes itself, and whole reads and writes.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace tilewise::cuda {

class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  Descriptor(Descriptor&& from) noexcept : number_(from.number_) { from.number_ = -1; }
  Descriptor& operator=(Descriptor&& from) noexcept;
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { close(); }

  bool open() const { return number_ >= 0; }
  int number() const { return number_; }

  // Returns false if the data may not have reached the file.
  bool close();

  bool read_all(std::size_t bytes, std::vector<std::byte>& into) const;
  bool write_all(std::span<const std::byte> bytes) const;

 private:
  int number_;
};

// The prefix of an unfinished file's name; 16 hexadecimal digits follow.
inline constexpr char kUnfinished[] = ".new-";

// Writes `name` in a folder atomically: to a file with a unique name, which is then renamed. If
// that fails, removes that file and returns false, with errno.
bool write_file(int folder, const std::string& name, std::span<const std::byte> bytes);

}  // namespace tilewise::cuda
