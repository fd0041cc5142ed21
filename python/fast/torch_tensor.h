// Reads torch's tensors by torch's stable C face, as tw_tensors.
#pragma once
#include <tilewise/tilewise.h>

#include <utility>

#include "python/fast/torch_abi.h"
#include "python/fast/torch_layout.h"

namespace tilewise::fast {

// torch's functions, which `implement` sets once.
extern torch_abi::Functions torch;

// Owns a handle of a tensor.
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

// Whether a tensor can be used, or why not.
enum class Seen {
  kFine,
  kUndefined,
  kOfWrongRank,
  kOfWrongType,
  kWithoutMemory,  // as one whose storage was freed or shrunk
  kSpread,         // its last dimension is not contiguous; all else is fine
  kElsewhere,      // on no device of tilewise's, or not where the query is
  kUnmade,         // there is no memory for a new one
};

// Reads a tensor of four dimensions, or of three for the lse.
Seen look(const Held& tensor, tw_tensor& to);

// Reads query, key, value or the like, whose heads come before rows in torch. A tensor that is
// kSpread, such as the gradient of sum(), whose strides are zero, is replaced by a copy.
Seen look_at_rows(Held& tensor, const Place& place, tw_tensor& to);

Seen look_at_lse(const Held& tensor, const Place& place, tw_tensor& to);

Seen find_place(const Held& tensor, Place& place);

// Whether there is a tensor, and whether it has elements.
bool is_defined(const Held& tensor);
bool has_elements(const Held& tensor);

// Makes a tensor like `like`, with this many columns and this layout, and reads it as rows.
struct New {
  int64_t columns;
  Layout layout;
};
Seen make(const Held& like, const Place& place, New asked, Held& made, tw_tensor& rows);

}  // namespace tilewise::fast
