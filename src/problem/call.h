// One call under check. It reads and remembers every tensor, so that the check of outputs against
// all other memory forgets no tensor.
#pragma once

#include "problem/structs.h"
#include "problem/tensor.h"

namespace tilewise {

enum class Role { kInput, kOutput };
enum class Need { kOptional, kRequired };

class Call {
 public:
  explicit Call(const Buffers& buffers) : buffers_(buffers) {}

  const Buffers& buffers() const { return buffers_; }

  Status input(const tw_tensor& tensor, const Form& form, View& view, Need need = Need::kOptional) {
    return read(tensor, form, {Role::kInput, need}, view);
  }
  Status output(const tw_tensor& tensor, const Form& form, View& view,
                Need need = Need::kOptional) {
    return read(tensor, form, {Role::kOutput, need}, view);
  }

  // Adds memory that no tensor of the request describes. The name and the view must outlive this
  // Call, as they must for tensors.
  Status remember(const char* name, Role role, const View& view);

  // Refuses an output two of whose elements share a byte, or that shares one with another tensor.
  Status outputs_apart() const;

  // Whether `memory` shares a byte with anything that this call remembers, or may share one:
  // strides can be too tangled to tell.
  bool overlaps(const View& memory) const;

 private:
  struct Part {
    Role role;
    Need need;
  };
  struct Entry {
    const char* name;
    Role role;
    const View* view;
  };
  static constexpr int kMostTensors = 40;

  Status read(const tw_tensor& tensor, const Form& form, Part part, View& view);
  Status check_place(const char* name, const View& view) const;

  Buffers buffers_;
  int count_ = 0;
  Entry entries_[kMostTensors];
};

}  // namespace tilewise
