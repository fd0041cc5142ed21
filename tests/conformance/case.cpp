// The one line that tells a case apart from the others.
#include "conformance/case.h"

#include <algorithm>
#include <sstream>

#include "conformance/number.h"

namespace tilewise::conformance {
namespace {

void list(std::ostringstream& text, const std::vector<std::int64_t>& values) {
  constexpr std::size_t kMost = 24;
  for (std::size_t n = 0; n < std::min(kMost, values.size()); ++n) {
    text << (n > 0 ? "," : "") << values[n];
  }
  if (values.size() > kMost) text << ",... (" << values.size() << ")";
}

void describe_side(std::ostringstream& text, const char* name, const SideCase& side) {
  constexpr const char* kNames[] = {"dense", "packed", "paged", "indexed"};
  text << ' ' << name << '=' << kNames[static_cast<int>(side.storage)] << '[';
  for (std::size_t b = 0; b < side.end.size(); ++b) {
    text << (b > 0 ? " " : "") << side.start[b] << ".." << side.end[b] << '/' << side.capacity[b];
  }
  text << ']';
  if (side.has_used) text << " used";
  if (side.has_start) text << " start";
  if (side.packed.max_length > 0) text << " max_length=" << side.packed.max_length;
  if (side.page_size > 0) text << " page_size=" << side.page_size;
  if (side.is_cache()) {
    text << " places=";
    list(text, side.places);
  }
}

void describe_mask(std::ostringstream& text, const MaskCase& mask) {
  constexpr const char* kDiagonals[] = {"bottom_right", "top_left", "shifted"};
  if (mask.band.left) text << " left=" << *mask.band.left;
  if (mask.band.right) text << " right=" << *mask.band.right;
  text << ' ' << kDiagonals[static_cast<int>(mask.band.diagonal)];
  if (mask.band.shift != 0) text << '=' << mask.band.shift;
  if (mask.band.chunk != 0) text << " chunk=" << mask.band.chunk;
  if (mask.has_visible) {
    text << " visible=";
    for (bool each : mask.visible_broadcast) text << (each ? '1' : 'n');
  }
  if (mask.has_blocks) {
    text << " blocks=" << mask.block_query << 'x' << mask.block_key;
    for (bool each : mask.blocks_broadcast) text << (each ? '1' : 'n');
  }
}

void describe_scores(std::ostringstream& text, const ScoreCase& scores) {
  if (scores.has_scale) text << " scale=" << scores.scale;
  if (scores.softcap != 0) text << " softcap=" << scores.softcap;
  if (scores.has_slopes) {
    text << (scores.steep_slopes ? " steep slopes" : " slopes")
         << (scores.slopes_by_batch ? "(batch)" : "");
  }
  if (scores.has_bias) {
    text << " bias=" << name_of(scores.bias_dtype) << ':';
    for (bool each : scores.bias_broadcast) text << (each ? '1' : 'n');
    if (scores.bias_hides) text << "(hides)";
  }
  if (scores.has_sinks) text << " sinks";
}

void describe_gradients(std::ostringstream& text, const GradientCase& gradients) {
  text << " gradients=" << (gradients.query ? "q" : "") << (gradients.key ? "k" : "")
       << (gradients.value ? "v" : "") << (gradients.bias ? gradients.bias_as_bias ? "B" : "b" : "")
       << (gradients.slopes ? "a" : "") << (gradients.sinks ? "s" : "")
       << (gradients.has_lse ? "+lse" : "") << (gradients.deterministic ? " deterministic" : "");
}

}  // namespace

std::string Case::describe() const {
  std::ostringstream text;
  text << "seed=" << seed << ": batch=" << batch << " heads=" << heads << '/' << key_heads
       << " dim=" << dim << '/' << value_dim << ' ' << name_of(dtypes.input) << "->"
       << name_of(dtypes.output) << (dtypes.has_scaling ? " scaled " : " ") << name_of(family);
  describe_side(text, "queries", queries);
  describe_side(text, "keys", keys);
  describe_mask(text, mask);
  describe_scores(text, scores);
  if (dropout.probability > 0) {
    text << " dropout=" << dropout.probability << " base=";
    list(text, {dropout.base.begin(), dropout.base.end()});
    if (dropout.by_state) text << " state";
  }
  describe_gradients(text, gradients);
  text << " threads=" << run.threads << (run.by_host ? " host" : "")
       << (run.is_scattered ? "" : " contiguous") << (run.keeps_pieces ? " pieces" : "");
  return text.str();
}

}  // namespace tilewise::conformance
