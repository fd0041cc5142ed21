#include "problem/call.h"

#include <cassert>

#include "problem/overlap.h"

namespace tilewise {
namespace {

bool is_empty(const View& view) {
  const Axes& size = view.size;
  return size.batch == 0 || size.head == 0 || size.row == 0 || size.column == 0;
}

}  // namespace

Status Call::read(const tw_tensor& tensor, const Form& form, Part part, View& view) {
  TW_TRY(check_tensor(tensor, form, buffers_, view));
  if (view) return remember(form.name, part.role, view);
  if (part.need == Need::kRequired)
    return invalid("%s is absent (its rank is 0): this call needs it as %s.", form.name,
                   form.layout.shape);
  return {};
}

Status Call::remember(const char* name, Role role, const View& view) {
  assert(count_ < kMostTensors);
  entries_[count_++] = {name, role, &view};
  return check_place(name, view);
}

Status Call::check_place(const char* name, const View& view) const {
  // A call that only asks about shapes follows no pointers to a device; one that runs follows all.
  const bool is_followed = (buffers_.given || !view.on_device) && view.data && !is_empty(view);
  return is_followed && buffers_.check_place ? buffers_.check_place(buffers_.device, name, view)
                                             : Status{};
}

namespace {

Status check_folds(const char* name, const View& view) {
  switch (folds(view)) {
    case Answer::kNo:
      return {};
    case Answer::kYes:
      return invalid(
          "%s visits a byte more than once: the strides of an output must keep its elements apart.",
          name);
    case Answer::kUnknown:
      break;
  }
  return unsupported(
      "%s has strides too tangled to tell whether its elements are apart: use strides that nest.",
      name);
}

Status check_apart(const char* output, const char* other, Answer shared) {
  switch (shared) {
    case Answer::kNo:
      return {};
    case Answer::kYes:
      return invalid(
          "%s and %s share memory: an output needs bytes that no other tensor of the call has.",
          output, other);
    case Answer::kUnknown:
      break;
  }
  return unsupported(
      "%s and %s have strides too tangled to tell whether they share memory: give them buffers of "
      "their own.",
      output, other);
}

}  // namespace

Status Call::outputs_apart() const {
  for (int i = 0; i < count_; ++i) {
    if (entries_[i].role == Role::kOutput) TW_TRY(check_folds(entries_[i].name, *entries_[i].view));
  }
  if (!buffers_.given) return {};
  for (int i = 0; i < count_; ++i) {
    if (entries_[i].role != Role::kOutput) continue;
    for (int j = 0; j < count_; ++j) {
      const bool seen = entries_[j].role == Role::kOutput && j <= i;
      if (seen) continue;
      TW_TRY(check_apart(entries_[i].name, entries_[j].name,
                         overlap(*entries_[i].view, *entries_[j].view)));
    }
  }
  return {};
}

bool Call::overlaps(const View& memory) const {
  for (int i = 0; i < count_; ++i)
    if (overlap(*entries_[i].view, memory) != Answer::kNo) return true;
  return false;
}

}  // namespace tilewise
