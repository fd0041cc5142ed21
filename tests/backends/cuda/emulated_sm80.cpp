#include "emulated_sm80.h"

#include <iterator>

#include "backends/cuda/kernels/sm80/forward.h"
#include "backends/cuda/kernels/sm80/merge.h"

namespace tilewise::cuda {
namespace {

template <DType type, bool is_general>
Sm80Function forward_of(int number) {
  using namespace sm80;
  constexpr Sm80Function kFunctions[] = {
      forward<Traits<type, 0, is_general>>, forward<Traits<type, 1, is_general>>,
      forward<Traits<type, 2, is_general>>, forward<Traits<type, 3, is_general>>,
      forward<Traits<type, 4, is_general>>, forward<Traits<type, 5, is_general>>,
      forward<Traits<type, 6, is_general>>};
  static_assert(std::size(kFunctions) == kSizes);
  return kFunctions[number];
}

}  // namespace

Sm80Function emulated_forward(bool is_bfloat16, bool is_general, int number) {
  if (is_bfloat16)
    return is_general ? forward_of<DType::kBFloat16, true>(number)
                      : forward_of<DType::kBFloat16, false>(number);
  return is_general ? forward_of<DType::kFloat16, true>(number)
                    : forward_of<DType::kFloat16, false>(number);
}

Sm80Function emulated_merge(bool is_bfloat16) {
  return is_bfloat16 ? sm80::merge<DType::kBFloat16> : sm80::merge<DType::kFloat16>;
}

Sm80Function emulated_sm80(const std::string& name) {
  const std::string begin = "tilewise_sm80_";
  for (const bool is_bfloat16 : {false, true}) {
    const std::string type = is_bfloat16 ? "bfloat16" : "float16";
    if (name == begin + "merge_" + type) return emulated_merge(is_bfloat16);
    for (int number = 0; number < sm80::kSizes; ++number) {
      const std::string common =
          begin + "forward_" + type + "_" + std::to_string(sm80::kCommon[number].dim);
      if (name == common) return emulated_forward(is_bfloat16, false, number);
      if (name == common + "_general") return emulated_forward(is_bfloat16, true, number);
    }
  }
  return nullptr;
}

}  // namespace tilewise::cuda
