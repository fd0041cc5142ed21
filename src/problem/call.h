// One call under check. Every tensor is read through it and remembered, so that none can be
// forgotten when outputs are held against the rest.
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

  // Memory that the call reads and that no tensor describes. Name and view must outlive the call,
  // as those of tensors must.
  Status remember(const char* name, Role role, const View& view);

  // No output folds onto itself, shares a byte with another output or with an input.
  Status outputs_apart() const;

  // Whether `memory` shares a byte with anything that was read.
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
