// Kernels with a set of features compiled in: more than anybody would list. Each is made of a row
// of its family's table, a type and the set, and becomes a variant when a call first asks for it.
#pragma once

#include <string>
#include <vector>

#include "backends/cuda/compiler/variant.h"
#include "backends/cuda/kernels/score/scoring.h"

namespace tilewise::cuda {

enum class FeaturedFamily { kForward, kBackward };

// Calls that ask for all of these features and no other, as featured_set says them. `number` is the
// place of the row in the family's table.
struct Featured {
  FeaturedFamily family = FeaturedFamily::kForward;
  bool is_bfloat16 = false;
  int number = 0;
  core::uint32 features = 0;
};

// Of what a call asks, what a kernel may have compiled in; and the same with all that goes without
// saying: a bias and a mask come in pieces, and blocks hold whole tiles.
inline constexpr core::uint32 kNamedFeatures =
    score::kAnyScale | score::kSoftcap | score::kAlibi | score::kBias | score::kVisible |
    score::kBlocks | score::kDropout | score::kBiasGradient | score::kSlopesGradient;

// What a call asks, as a set to compile in; 0 where there is none: nothing is asked, or a bias, a
// mask or blocks that lie in another way than such kernels know, or what backward's do not take.
core::uint32 featured_set(core::uint32 asked, FeaturedFamily family = FeaturedFamily::kForward);

// "softcap, ALiBi", as people say it.
std::string feature_words(core::uint32 features);

// How many kernels of a process may have features compiled in. Calls for more take the general
// ones.
inline constexpr int kMostFeatured = 1024;

// Its place among them: the same as long as the process lives; -1: there is no room for another.
int place_of(const Featured& featured);
Featured featured_at(int place);

// A variant, and the texts that it points to.
struct FeaturedText {
  explicit FeaturedText(const Featured& from);
  FeaturedText(const FeaturedText&) = delete;
  FeaturedText& operator=(const FeaturedText&) = delete;

  std::string name, body;
  Variant variant;
};

// The one of a place, for as long as the process lives. May throw where there is no memory, the
// first time.
const Variant& featured_variant(int place);

// Dynamic shared memory of a block, and what it may be: two blocks of forward fit into a
// multiprocessor of Hopper, and one of backward.
inline constexpr int kMostFeaturedBytes = 113 * 1024;
int shared_bytes_of(const Featured& featured);
int most_bytes_of(FeaturedFamily family);

// "tilewise_sm80_forward_bfloat16_128_softcap_alibi". False of names that are none of these.
std::string kernel_name(const Featured& featured);
bool find_featured(const std::string& name, Featured& out);

// All that there may be.
std::vector<Featured> every_featured();

}  // namespace tilewise::cuda
