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

// The name of a row's kernel.
std::string name_of(const sm80::Size& size, bool is_bfloat16) {
  constexpr const char* kEnds[] = {"", "_general", "_short_", "_short_general"};
  std::string name = "tilewise_sm80_forward_";
  name += is_bfloat16 ? "bfloat16_" : "float16_";
  name += std::to_string(size.dim);
  name += kEnds[static_cast<int>(size.kind)];
  if (size.kind == sm80::Kind::kShort) name += std::to_string(size.rows);
  return name;
}

}  // namespace

Sm80Function emulated_forward(bool is_bfloat16, int number) {
  constexpr std::make_integer_sequence<int, sm80::kVariantsOfForward> kNumbers;
  return is_bfloat16 ? forward_of<DType::kBFloat16>(number, kNumbers)
                     : forward_of<DType::kFloat16>(number, kNumbers);
}

Sm80Function emulated_sm80(const std::string& name) {
  if (name == "tilewise_sm80_merge") return sm80::merge;
  for (const bool is_bfloat16 : {false, true})
    for (int number = 0; number < sm80::kVariantsOfForward; ++number)
      if (name == name_of(sm80::kTable[number], is_bfloat16))
        return emulated_forward(is_bfloat16, number);
  return nullptr;
}

}  // namespace tilewise::cuda
