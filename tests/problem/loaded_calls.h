// Calls that ask for everything at once, in every way that sequences may lie, and the list of their
// tensors.
#pragma once

#include "calls.h"

namespace tilewise {

enum class Setting { kDense, kPacked, kPaged, kIndexed };
inline constexpr Setting kSettings[] = {Setting::kDense, Setting::kPacked, Setting::kPaged,
                                        Setting::kIndexed};

void fill(Attention& a, Setting setting);

struct Named {
  std::string name;  // the header's
  tw_tensor* tensor;
};

using Tensors = std::vector<Named>;

// The outputs of a forward or backward call; all of its tensors.
Tensors outputs_of(Attention& a);
Tensors tensors_of(Attention& a);

}  // namespace tilewise
