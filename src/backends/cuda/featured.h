// Featured kernels: kernels with an exact set of features compiled in. There are too many to
// compile all ahead. Each is made from a row of its family's table, a dtype and the set, and
// becomes a variant when it is first asked for.
#pragma once

#include <string>
#include <vector>

#include "backends/cuda/compiler/variant.h"
#include "backends/cuda/kernels/score/scoring.h"

namespace tilewise::cuda {

enum class FeaturedFamily { kForward, kBackward };

// A kernel for calls that ask for exactly `features`, in the form that featured_set returns, and
// perhaps for sinks. `number` is the index of the row in the family's table.
struct Featured {
  FeaturedFamily family = FeaturedFamily::kForward;
  bool is_bfloat16 = false;
  int number = 0;
  core::uint32 features = 0;
};

// The features that a kernel may have compiled in. With bias, mask or block mask, featured_set adds
// the layout that such a kernel needs: kBiasPieces, kVisiblePieces or kBlocksOfTiles.
inline constexpr core::uint32 kNamedFeatures =
    score::kAnyScale | score::kSoftcap | score::kAlibi | score::kBias | score::kVisible |
    score::kBlocks | score::kDropout | score::kBiasGradient | score::kSlopesGradient;

// The features that a kernel for a call that asks for `asked` has compiled in. 0 if there is no
// such kernel: nothing is asked, the layout of a bias, mask or block mask does not allow it, or
// backward does not support the set.
core::uint32 featured_set(core::uint32 asked, FeaturedFamily family = FeaturedFamily::kForward);

// "softcap, ALiBi", for messages.
std::string feature_words(core::uint32 features);

// How many featured kernels a process may use. Beyond that, calls with a new set take the general
// ones.
inline constexpr int kMostFeatured = 1024;

// The kernel's place among the featured ones, which never changes in a process; -1 if none is free.
int place_of(const Featured& featured);
Featured featured_at(int place);

// A variant, and the strings that it points to.
struct FeaturedText {
  explicit FeaturedText(const Featured& from);
  FeaturedText(const FeaturedText&) = delete;
  FeaturedText& operator=(const FeaturedText&) = delete;

  std::string name, body;
  Variant variant;
};

// The variant of a place, valid for the life of the process. The first call for a place throws if
// memory is short.
const Variant& featured_variant(int place);

// The dynamic shared memory of a block, and the most that a family allows. Two forward blocks of
// kMostFeaturedBytes, or one backward block of its family's limit, fit into a multiprocessor of
// Hopper.
inline constexpr int kMostFeaturedBytes = 113 * 1024;
int shared_bytes_of(const Featured& featured);
int most_bytes_of(FeaturedFamily family);

// kernel_name gives, for example, "tilewise_sm80_forward_bfloat16_128_softcap_alibi". find_featured
// is the reverse, and returns false for any other name.
std::string kernel_name(const Featured& featured);
bool find_featured(const std::string& name, Featured& out);

// All possible featured kernels.
std::vector<Featured> every_featured();

}  // namespace tilewise::cuda
