// torch's tensors by its stable C face, as tw_tensors.
#pragma once
#include <tilewise/tilewise.h>

#include <utility>

#include "python/fast/torch_abi.h"

namespace tilewise::fast {

// Filled by `implement`, once.
extern torch_abi::Functions torch;

// A tensor that this holds.
class Held {
 public:
  Held() = default;
  explicit Held(torch_abi::Value value) : handle_(reinterpret_cast<torch_abi::Handle>(value)) {}
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  ~Held() {
    if (handle_ != nullptr) torch.release(handle_);
  }
  torch_abi::Handle get() const { return handle_; }
  torch_abi::Handle* place() { return &handle_; }
  torch_abi::Value given() {
    return reinterpret_cast<torch_abi::Value>(std::exchange(handle_, nullptr));
  }

 private:
  torch_abi::Handle handle_ = nullptr;
};

struct Place {
  int32_t type = torch_abi::kCpu, index = 0;
};

// What a tensor says of itself; of four dimensions, or of three for the lse. False: it has no
// memory, or lies as the library does not read it.
bool look(const Held& tensor, tw_tensor& to);

// The same of rows, whose heads come before them in torch.
bool look_at_rows(const Held& tensor, tw_tensor& to);

// False: on no device of tilewise's.
bool find_place(const Held& tensor, Place& place);

// A new tensor without gaps, in the order of `like`'s strides. False: torch makes none.
bool make(const Held& like, const Place& place, int64_t columns, Held& made);

}  // namespace tilewise::fast
