#include "emulated_sm80.h"

#include <utility>

#include "backends/cuda/featured.h"
#include "backends/cuda/kernels/sm80/forward.h"
#include "backends/cuda/kernels/sm80/merge.h"

namespace tilewise::cuda {
namespace {

// All features that kernels of this row of kTable may be asked for.
template <int number>
constexpr core::uint32 features_of() {
  if (sm80::kTable[number].kind == sm80::Kind::kFeatured) return score::kEveryFeature;
  return is_general(sm80::kTable[number].kind) ? score::kEveryFeature : 0;
}

template <DType type, int number>
using TraitsOf = sm80::Traits<type, number, features_of<number>()>;

template <DType type, int... numbers>
Sm80Function forward_of(int number, std::integer_sequence<int, numbers...>) {
  constexpr Sm80Function kFunctions[] = {sm80::forward<TraitsOf<type, numbers>>...};
  return kFunctions[number];
}

template <int... numbers>
std::size_t bytes_of(int number, std::integer_sequence<int, numbers...>) {
  constexpr std::size_t kBytes[] = {sizeof(typename TraitsOf<DType::kFloat16, numbers>::Memory)...};
  return kBytes[number];
}

constexpr std::make_integer_sequence<int, sm80::kRowsOfForward> kNumbers;

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
  return is_bfloat16 ? forward_of<DType::kBFloat16>(number, kNumbers)
                     : forward_of<DType::kFloat16>(number, kNumbers);
}

std::size_t emulated_forward_bytes(int number) {
  return bytes_of(number, kNumbers);
}

Sm80Function emulated_sm80(const std::string& name, std::size_t& bytes) {
  bytes = 0;
  Featured featured;
  if (find_featured(name, featured) && featured.family == FeaturedFamily::kForward) {
    bytes = emulated_forward_bytes(featured.number);
    return emulated_forward(featured.is_bfloat16, featured.number);
  }
  if (name == "tilewise_sm80_merge") return sm80::merge;
  for (const bool is_bfloat16 : {false, true})
    for (int number = 0; number < sm80::kVariantsOfForward; ++number)
      if (name == name_of(sm80::kTable[number], is_bfloat16))
        return emulated_forward(is_bfloat16, number);
  return nullptr;
}

}  // namespace tilewise::cuda
