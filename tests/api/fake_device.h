// A backend of the tests that calls itself one of a CUDA device. It computes nothing and remembers
// what it was given.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tilewise {

class FakeDevice {
 public:
  static constexpr std::size_t kWorkspaceBytes = 320;  // the workspace of attention

  // It is the first of the library's backends as long as this object lives.
  FakeDevice();
  ~FakeDevice();
  FakeDevice(const FakeDevice&) = delete;
  FakeDevice& operator=(const FakeDevice&) = delete;

  // From now on what was not prepared is refused.
  void capture();

  // Of the last call that was prepared or run.
  struct Seen {
    const void *workspace = nullptr, *stream = nullptr, *error = nullptr;
    // Of attention.
    const void *query = nullptr, *state = nullptr;
    std::int64_t queries = 0, keys = 0;
  };
  const Seen& seen() const;
  void forget();  // what was seen
  int runs() const;
};

}  // namespace tilewise
