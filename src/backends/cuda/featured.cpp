#include "backends/cuda/featured.h"

#include <atomic>
#include <iterator>
#include <memory>
#include <utility>

#include "backends/cuda/kernels/sm80/backward.h"
#include "backends/cuda/kernels/sm80/forward.h"

namespace tilewise::cuda {
namespace {

using core::uint32;

constexpr struct {
  uint32 feature;
  uint32 with_it;  // features that this one implies
  const char* name;
  const char* words;
} kFeatures[] = {{score::kAnyScale, 0, "scale", "such a scale"},
                 {score::kSoftcap, 0, "softcap", "softcap"},
                 {score::kAlibi, 0, "alibi", "ALiBi"},
                 {score::kBias, score::kBiasPieces, "bias", "bias"},
                 {score::kVisible, score::kVisiblePieces, "mask", "boolean mask"},
                 {score::kBlocks, score::kBlocksOfTiles, "blocks", "block mask"},
                 {score::kDropout, 0, "dropout", "dropout"},
                 {score::kBiasGradient, 0, "dbias", "the bias's gradient"},
                 {score::kSlopesGradient, 0, "dalibi", "the slopes' gradient"}};
constexpr int kSets = 1 << std::size(kFeatures);

// The set that a number from 0 to kSets - 1 encodes.
uint32 set_of(int number) {
  uint32 set = 0;
  for (std::size_t i = 0; i < std::size(kFeatures); ++i)
    if ((number >> i & 1) != 0) set |= kFeatures[i].feature | kFeatures[i].with_it;
  return set;
}

// The features that change the layout of shared memory.
constexpr uint32 kInShared = score::kBias | score::kVisible | score::kBlocks;

template <int number>
constexpr int forward_bytes(uint32 features) {
  using namespace sm80;
  constexpr auto kType = DType::kFloat16;
  const std::size_t bytes[] = {
      sizeof(typename Traits<kType, number, score::kSoftcap>::Memory),
      sizeof(typename Traits<kType, number, score::kBias>::Memory),
      sizeof(typename Traits<kType, number, score::kVisible>::Memory),
      sizeof(typename Traits<kType, number, score::kBias | score::kVisible>::Memory)};
  const int which =
      ((features & score::kBias) != 0 ? 1 : 0) + ((features & score::kVisible) != 0 ? 2 : 0);
  return static_cast<int>(bytes[which]);
}

template <int... rows>
int bytes_of_row(int number, uint32 features, std::integer_sequence<int, rows...>) {
  constexpr int kFirst = sm80::kVariantsOfForward;
  constexpr int (*kBytes[])(uint32) = {forward_bytes<kFirst + rows>...};
  return kBytes[number - kFirst](features);
}

constexpr int kForwardRows = sm80::kRowsOfForward - sm80::kVariantsOfForward;

template <int number, uint32 features>
constexpr int kBackwardBytes = static_cast<int>(
    sizeof(typename sm80::BackwardTraits<DType::kFloat16, number, features>::Memory));

template <int number>
int backward_bytes(uint32 features) {
  using namespace score;
  constexpr int kBytes[] = {kBackwardBytes<number, kSoftcap>,
                            kBackwardBytes<number, kBias>,
                            kBackwardBytes<number, kVisible>,
                            kBackwardBytes<number, kBias | kVisible>,
                            kBackwardBytes<number, kBlocks>,
                            kBackwardBytes<number, kBias | kBlocks>,
                            kBackwardBytes<number, kVisible | kBlocks>,
                            kBackwardBytes<number, kBias | kVisible | kBlocks>};
  return kBytes[((features & kBias) != 0 ? 1 : 0) + ((features & kVisible) != 0 ? 2 : 0) +
                ((features & kBlocks) != 0 ? 4 : 0)];
}

template <int... rows>
int bytes_of_backward_row(int number, uint32 features, std::integer_sequence<int, rows...>) {
  constexpr int kFirst = sm80::kVariantsOfBackward;
  constexpr int (*kBytes[])(uint32) = {backward_bytes<kFirst + rows>...};
  return kBytes[number - kFirst](features);
}

constexpr int kBackwardRows = sm80::kRowsOfBackward - sm80::kVariantsOfBackward;

// The properties of a kernel that come from its row in the family's table. If a head dim has two
// rows, the second needs less shared memory.
struct Row {
  std::string name;
  int threads, blocks, shared_bytes;
};

Row forward_row(int number, uint32 features) {
  const sm80::Size& size = sm80::kTable[number];
  const bool is_first =
      number == sm80::kVariantsOfForward || sm80::kTable[number - 1].dim != size.dim;
  return {
      std::to_string(size.dim) + (is_first ? "" : "_lean"), size.threads(), size.blocks,
      bytes_of_row(number, features & kInShared, std::make_integer_sequence<int, kForwardRows>())};
}

Row backward_row(int number, uint32 features) {
  const sm80::BackwardShape& tiles = sm80::kBackwardShapes[number];
  return {std::to_string(tiles.dim), tiles.threads(), tiles.blocks,
          bytes_of_backward_row(number, features & kInShared,
                                std::make_integer_sequence<int, kBackwardRows>())};
}

// How the text of a family's kernels is made.
struct Family {
  const char* name;  // prefix of all its kernels' names
  const char* include;
  const char* parameters;
  const char* function;  // a template over the traits of dtype, row and set
  const char* traits;
  int first_row, rows;  // of its table's featured rows
  Row (*row)(int number, uint32 features);
};
// In the order of FeaturedFamily.
constexpr Family kFamilies[] = {
    {"tilewise_sm80_forward_", "backends/cuda/kernels/sm80/forward.h",
     "const __grid_constant__ tilewise::cuda::sm80::Forward p", "sm80::forward", "sm80::Traits",
     sm80::kVariantsOfForward, kForwardRows, forward_row},
    {"tilewise_sm80_backward_", "backends/cuda/kernels/sm80/backward.h",
     "const __grid_constant__ tilewise::cuda::sm80::Backward p", "sm80::backward",
     "sm80::BackwardTraits", sm80::kVariantsOfBackward, kBackwardRows, backward_row}};

const Family& family_of(const Featured& featured) {
  return kFamilies[static_cast<int>(featured.family)];
}

Row row_of(const Featured& featured) {
  return family_of(featured).row(featured.number, featured.features);
}

std::string body_of(const Featured& of) {
  const Family& family = family_of(of);
  const std::string type = of.is_bfloat16 ? "kBFloat16" : "kFloat16";
  return std::string("using namespace tilewise::cuda; ") + family.function + "<" + family.traits +
         "<DType::" + type + ", " + std::to_string(of.number) + ", " +
         std::to_string(of.features | score::kExactly) + "u>>(p);";
}

// Encodes a featured kernel as a number that is not 0, and back.
uint32 number_of(const Featured& featured) {
  const auto family = static_cast<uint32>(featured.family);
  const auto row = static_cast<uint32>(featured.number);
  return 1u << 31 | family << 26 | row << 18 | (featured.is_bfloat16 ? 1u : 0u) << 17 |
         featured.features;
}
Featured featured_of(uint32 number) {
  return {static_cast<FeaturedFamily>(number >> 26 & 31), (number >> 17 & 1) != 0,
          static_cast<int>(number >> 18 & 255), number & 0xFFFF};
}

// Entries are added once and never removed, so readers need no lock.
std::atomic<uint32> places[kMostFeatured];
std::atomic<const FeaturedText*> made[kMostFeatured];

}  // namespace

FeaturedText::FeaturedText(const Featured& from)
    : name(kernel_name(from)), body(body_of(from)), variant() {
  const Row row = row_of(from);
  variant = {
      name.c_str(), family_of(from).include, family_of(from).parameters, body.c_str(), row.threads,
      row.blocks,   row.shared_bytes};
}

uint32 featured_set(uint32 asked, FeaturedFamily family) {
  uint32 set = asked & kNamedFeatures;
  constexpr uint32 kGradients = score::kBiasGradient | score::kSlopesGradient;
  if (family == FeaturedFamily::kForward) {
    set &= ~kGradients;
  } else if ((set & score::kAnyScale) != 0 ||
             ((set & score::kSoftcap) != 0 && (set & kGradients) != 0) ||
             ((set & score::kBiasGradient) != 0 && (set & score::kBias) == 0) ||
             ((set & score::kSlopesGradient) != 0 && (set & score::kAlibi) == 0)) {
    return 0;
  }
  // Features that shape scores apply any scale.
  if ((set & (score::kSoftcap | score::kAlibi | score::kBias)) != 0) set &= ~score::kAnyScale;
  for (const auto& each : kFeatures) {
    if ((set & each.feature) == 0) continue;
    if ((asked & each.with_it) != each.with_it) return 0;
    set |= each.with_it;
  }
  return set;
}

std::string feature_words(uint32 features) {
  std::string text;
  for (const auto& each : kFeatures)
    if ((features & each.feature) != 0)
      text += (text.empty() ? "" : ", ") + std::string(each.words);
  return text;
}

int place_of(const Featured& featured) {
  const uint32 number = number_of(featured);
  auto place = static_cast<int>(number * 2654435761u >> 22);  // 10 bits
  static_assert(kMostFeatured == 1 << 10);
  for (int tried = 0; tried < kMostFeatured; ++tried, place = (place + 1) % kMostFeatured) {
    uint32 there = places[place].load(std::memory_order_acquire);
    if (there == 0 && places[place].compare_exchange_strong(there, number)) return place;
    if (there == number) return place;
  }
  return -1;
}

Featured featured_at(int place) {
  return featured_of(places[place].load(std::memory_order_acquire));
}

const Variant& featured_variant(int place) {
  const FeaturedText* known = made[place].load(std::memory_order_acquire);
  if (known) return known->variant;
  auto mine = std::make_unique<FeaturedText>(featured_at(place));
  if (made[place].compare_exchange_strong(known, mine.get())) known = mine.release();
  return known->variant;
}

int most_bytes_of(FeaturedFamily family) {
  return family == FeaturedFamily::kForward ? kMostFeaturedBytes : 227 * 1024;
}

int shared_bytes_of(const Featured& featured) {
  return row_of(featured).shared_bytes;
}

std::string kernel_name(const Featured& featured) {
  std::string name = family_of(featured).name;
  name += (featured.is_bfloat16 ? "bfloat16_" : "float16_") + row_of(featured).name;
  for (const auto& each : kFeatures)
    if ((featured.features & each.feature) != 0) name += std::string("_") + each.name;
  return name;
}

bool find_featured(const std::string& name, Featured& out) {
  for (const Featured& each : every_featured()) {
    if (kernel_name(each) != name) continue;
    out = each;
    return true;
  }
  return false;
}

std::vector<Featured> every_featured() {
  std::vector<Featured> all;
  const auto add = [&](Featured each) {
    for (int set = 1; set < kSets; ++set) {
      each.features = set_of(set);
      const bool is_asked = featured_set(each.features, each.family) == each.features;
      if (is_asked && shared_bytes_of(each) <= most_bytes_of(each.family)) all.push_back(each);
    }
  };
  for (std::size_t i = 0; i < std::size(kFamilies); ++i)
    for (int row = 0; row < 2 * kFamilies[i].rows; ++row)
      add({static_cast<FeaturedFamily>(i), row % 2 != 0, kFamilies[i].first_row + row / 2, 0});
  return all;
}

}  // namespace tilewise::cuda
