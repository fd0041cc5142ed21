#include "emulated_backward.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "backends/cuda/kernels/sm80/backward.h"
#include "backends/cuda/kernels/sm80/backward_finish.h"

namespace tilewise::cuda {
namespace {

template <DType type, int... numbers>
BackwardFunction tiles_of(int number, std::integer_sequence<int, numbers...>) {
  constexpr BackwardFunction kFunctions[] = {
      sm80::backward<sm80::BackwardTraits<type, numbers>>...};
  return kFunctions[number];
}

template <DType type>
BackwardFunction function_of(const Sm80Backward& choice) {
  switch (choice.step) {
    case BackwardStep::kRows:
      return sm80::backward_rows<type>;
    case BackwardStep::kFinish:
      return sm80::backward_finish<type>;
    case BackwardStep::kTiles:
      break;
  }
  return tiles_of<type>(choice.number, std::make_integer_sequence<int, kBackwardShapeCount>());
}

}  // namespace

BackwardFunction emulated_backward(const Sm80Backward& choice) {
  return choice.is_bfloat16 ? function_of<DType::kBFloat16>(choice)
                            : function_of<DType::kFloat16>(choice);
}

BackwardFunction emulated_backward(const std::string& name) {
  // Of the shapes, in their order.
  const char* const names[] = {"48",
                               "64",
                               "96",
                               "128_163k",
                               "128",
                               "192_163k",
                               "256_227k",
                               "256",
                               "64_masked",
                               "128_masked_227k",
                               "128_masked_163k",
                               "64_general",
                               "128_general",
                               "256_general_227k",
                               "256_general_163k"};
  static_assert(std::size(names) == kBackwardShapeCount);
  const std::string begin = "tilewise_sm80_backward_";
  if (!name.starts_with(begin)) return nullptr;
  const std::string rest = name.substr(begin.size());
  for (const bool is_bfloat16 : {false, true}) {
    const std::string type = is_bfloat16 ? "bfloat16" : "float16";
    if (rest == "rows_" + type) return emulated_backward({BackwardStep::kRows, is_bfloat16, 0});
    if (rest == "finish_" + type) return emulated_backward({BackwardStep::kFinish, is_bfloat16, 0});
    if (!rest.starts_with(type + "_")) continue;
    const auto* found = std::find(std::begin(names), std::end(names), rest.substr(type.size() + 1));
    if (found != std::end(names))
      return emulated_backward(
          {BackwardStep::kTiles, is_bfloat16, static_cast<int>(found - std::begin(names))});
  }
  return nullptr;
}

}  // namespace tilewise::cuda
