// torch's tensors by its stable C face, as tw_tensors.
#pragma once
#include <tilewise/tilewise.h>

#include <utility>

#include "python/fast/torch_abi.h"
#include "python/fast/torch_layout.h"

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

// What a tensor turned out to be.
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

// What a tensor says of itself; of four dimensions, or of three for the lse.
Seen look(const Held& tensor, tw_tensor& to);

// The same of rows, whose heads come before them in torch. Those that are spread are copied, as
// sum's gradient is, whose strides are zero.
Seen look_at_rows(Held& tensor, const Place& place, tw_tensor& to);

Seen look_at_lse(const Held& tensor, const Place& place, tw_tensor& to);

Seen find_place(const Held& tensor, Place& place);

// Whether there is a tensor, and anything in it.
bool is_defined(const Held& tensor);
bool has_elements(const Held& tensor);

// A new tensor as `like`, but of so many columns and laid so; and as rows.
struct New {
  int64_t columns;
  Layout layout;
};
Seen make(const Held& like, const Place& place, New asked, Held& made, tw_tensor& rows);

}  // namespace tilewise::fast
