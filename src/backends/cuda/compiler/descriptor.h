// An open file or folder that closes itself, and whole reads and writes of one.
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

  // False when what was written may not have reached the file.
  bool close();

  bool read_all(std::size_t bytes, std::vector<std::byte>& into) const;
  bool write_all(std::span<const std::byte> bytes) const;

 private:
  int number_;
};

// How the name of a file begins that is being written; 16 digits, of base 16, follow.
inline constexpr char kUnfinished[] = ".new-";

// Writes `name` in a folder so that others see all of it or nothing: under a name that nobody else
// has, then renamed. Leaves nothing behind when that fails; errno says why.
bool write_file(int folder, const std::string& name, std::span<const std::byte> bytes);

}  // namespace tilewise::cuda
