#include "emulated_sm80.h"

#include <utility>

#include "backends/cuda/kernels/sm80/forward.h"
#include "backends/cuda/kernels/sm80/merge.h"

namespace tilewise::cuda {
namespace {

template <DType type, int... numbers>
Sm80Function forward_of(int number, std::integer_sequence<int, numbers...>) {
  constexpr Sm80Function kFunctions[] = {sm80::forward<sm80::Traits<type, numbers>>...};
  return kFunctions[number];
}

// What the name says of a row.
std::string name_of(const sm80::Size& size) {
  const std::string dim = std::to_string(size.dim);
  if (size.kind == sm80::Kind::kGeneral) return dim + "_general";
  if (size.kind == sm80::Kind::kShort) return dim + "_short_" + std::to_string(size.rows);
  if (size.kind == sm80::Kind::kShortGeneral) return dim + "_short_general";
  return dim;
}

}  // namespace

Sm80Function emulated_forward(bool is_bfloat16, int number) {
  constexpr std::make_integer_sequence<int, sm80::kVariantsOfForward> kNumbers;
  return is_bfloat16 ? forward_of<DType::kBFloat16>(number, kNumbers)
                     : forward_of<DType::kFloat16>(number, kNumbers);
}

Sm80Function emulated_sm80(const std::string& name) {
  const std::string begin = "tilewise_sm80_";
  if (name == begin + "merge") return sm80::merge;
  for (const bool is_bfloat16 : {false, true}) {
    const std::string type = is_bfloat16 ? "bfloat16" : "float16";
    for (int number = 0; number < sm80::kVariantsOfForward; ++number)
      if (name == begin + "forward_" + type + "_" + name_of(sm80::kTable[number]))
        return emulated_forward(is_bfloat16, number);
  }
  return nullptr;
}

}  // namespace tilewise::cuda
