#include "emulated_backward.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "backends/cuda/kernels/sm80/backward.h"
#include "backends/cuda/kernels/sm80/backward_finish.h"
#include "backends/cuda/kernels/sm80/backward_short.h"

namespace tilewise::cuda {
namespace {

// All features that kernels of this shape may be asked for.
template <int number>
constexpr core::uint32 features_of() {
  constexpr core::uint32 kGradients = score::kBiasGradient | score::kSlopesGradient;
  const sm80::BackwardShape& tiles = sm80::kBackwardShapes[number];
  return tiles.kind == sm80::BackwardKind::kFeatured ? score::kEveryFeature | kGradients
                                                     : sm80::features_of(tiles);
}

template <DType type, int number>
using TraitsOf = sm80::BackwardTraits<type, number, features_of<number>()>;

constexpr std::make_integer_sequence<int, sm80::kRowsOfBackward> kNumbers;

template <class Traits>
constexpr BackwardFunction function_of_row() {
  if constexpr (Traits::kIsShort)
    return sm80::backward_short<Traits>;
  else
    return sm80::backward<Traits>;
}

template <DType type, int... numbers>
BackwardFunction tiles_of(int number, std::integer_sequence<int, numbers...>) {
  constexpr BackwardFunction kFunctions[] = {function_of_row<TraitsOf<type, numbers>>()...};
  return kFunctions[number];
}

template <int... numbers>
std::size_t bytes_of(int number, std::integer_sequence<int, numbers...>) {
  constexpr std::size_t kBytes[] = {sizeof(typename TraitsOf<DType::kFloat16, numbers>::Memory)...};
  return kBytes[number];
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
  return tiles_of<type>(choice.number, kNumbers);
}

}  // namespace

BackwardFunction emulated_backward(const Sm80Backward& choice) {
  return choice.is_bfloat16 ? function_of<DType::kBFloat16>(choice)
                            : function_of<DType::kFloat16>(choice);
}

std::size_t emulated_backward_bytes(int number) {
  return bytes_of(number, kNumbers);
}

BackwardFunction emulated_backward(const std::string& name, std::size_t& bytes) {
  bytes = 0;
  Featured featured;
  if (find_featured(name, featured) && featured.family == FeaturedFamily::kBackward) {
    bytes = emulated_backward_bytes(featured.number);
    return emulated_backward({BackwardStep::kTiles, featured.is_bfloat16, featured.number});
  }
  // The names of kBackwardShapes, in their order.
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
                               "256_general_163k",
                               "64_few",
                               "64_short_16",
                               "64_short_32",
                               "64_short_64",
                               "64_short_128",
                               "128_short_16",
                               "128_short_32",
                               "128_short_64",
                               "128_short_128"};
  static_assert(std::size(names) == sm80::kVariantsOfBackward);
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
