// The calls themselves: which sizes and features a seed gives.
#include <array>

#include "robust/calls.h"

namespace tilewise::robust {
namespace {

// Values this small have outputs that are denormal numbers.
constexpr double kTiny = 1e-39;

struct Sizes {
  explicit Sizes(Memory& memory)
      // A batch of at least two, because a call of one task needs no thread.
      : batch(2 + memory.below(2)),
        length(40 + memory.below(60)),
        key_heads(1 + memory.below(2)),
        heads(key_heads * (1 + memory.below(2))),
        dim(2 * (1 + memory.below(6))),
        value_dim(1 + memory.below(9)) {
    const tw_dtype dtypes[] = {TW_FLOAT32, TW_FLOAT32, TW_FLOAT64, TW_BFLOAT16};
    dtype = dtypes[memory.below(4)];
    wide = dtype == TW_FLOAT64 ? TW_FLOAT64 : TW_FLOAT32;
  }

  std::int64_t batch, length, key_heads, heads, dim, value_dim;
  tw_dtype dtype, wide;
};

class Attention final : public Call {
 public:
  Attention(Kind kind, std::uint64_t seed) : Call(kind, seed), sizes_(memory_) {
    const Sizes& s = sizes_;
    request_.size = sizeof request_;
    request_.query = memory_.input(s.dtype, {s.batch, s.length, s.heads, s.dim});
    request_.key = memory_.input(s.dtype, {s.batch, s.length, s.key_heads, s.dim});
    const double size = memory_.below(4) == 0 ? kTiny : 1;
    request_.value = memory_.input(s.dtype, {s.batch, s.length, s.key_heads, s.value_dim}, size);
    request_.options = &options_;
    options_.size = sizeof options_;
    add_results();
    add_mask();
    add_scores();
    add_dropout();
    if (kind == Kind::kBackward) add_gradients();
  }

 protected:
  tw_status make(const tw_execution& where, bool refused) override {
    tw_request request = request_;
    if (refused) request.key.shape[3] += 1;
    const auto function = kind_ == Kind::kBackward        ? tw_backward
                          : kind_ == Kind::kProbabilities ? tw_probabilities
                                                          : tw_forward;
    return function(&request, &where, message_, sizeof message_);
  }

  const tw_request* request() const override { return &request_; }

 private:
  void add_results() {
    const Sizes& s = sizes_;
    const bool backward = kind_ == Kind::kBackward;
    const std::vector<std::int64_t> output{s.batch, s.length, s.heads, s.value_dim};
    if (kind_ == Kind::kProbabilities) {
      request_.output = memory_.output(s.wide, {s.batch, s.heads, s.length, s.length});
      return;
    }
    request_.output = backward ? memory_.input(s.wide, output) : memory_.output(s.wide, output);
    const std::vector<std::int64_t> lse{s.batch, s.heads, s.length};
    request_.lse = backward ? memory_.input(s.wide, lse, 3) : memory_.output(s.wide, lse);
  }

  // Bands in which some rows see nothing, and bands in which every row sees something.
  void add_mask() {
    mask_.size = sizeof mask_;
    options_.mask = &mask_;
    mask_.has_right = memory_.below(2) == 0;
    mask_.right = mask_.has_right ? -memory_.below(12) : 0;
    mask_.has_left = memory_.below(3) == 0;
    mask_.left = mask_.has_left ? 20 : 0;
    if (memory_.below(3) != 0) return;
    used_.size = sizeof used_;
    used_.used = memory_.indices(std::vector<std::int64_t>(static_cast<std::size_t>(sizes_.batch),
                                                           sizes_.length - memory_.below(30)));
    options_.keys = &used_;
  }

  void add_scores() {
    const Sizes& s = sizes_;
    scores_.size = sizeof scores_;
    options_.scores = &scores_;
    if (memory_.below(3) == 0) scores_.softcap = 2;
    if (memory_.below(3) == 0) scores_.slopes = memory_.input(s.wide, {s.heads});
    if (memory_.below(3) == 0) scores_.sinks = memory_.input(s.wide, {s.heads});
    if (memory_.below(3) == 0) scores_.bias = memory_.input(s.wide, {1, 1, s.length, s.length});
  }

  void add_dropout() {
    if (memory_.below(4) != 0) return;
    dropout_.size = sizeof dropout_;
    dropout_.probability = 0.25;
    dropout_.seed = seed_;
    options_.dropout = &dropout_;
  }

  void add_gradients() {
    const Sizes& s = sizes_;
    gradients_.size = sizeof gradients_;
    request_.gradients = &gradients_;
    gradients_.output = memory_.input(s.wide, {s.batch, s.length, s.heads, s.value_dim});
    gradients_.query = memory_.output(s.wide, {s.batch, s.length, s.heads, s.dim});
    gradients_.key = memory_.output(s.wide, {s.batch, s.length, s.key_heads, s.dim});
    gradients_.value = memory_.output(s.wide, {s.batch, s.length, s.key_heads, s.value_dim});
    if (scores_.bias.rank) gradients_.bias = memory_.output(s.wide, {1, 1, s.length, s.length});
    if (scores_.slopes.rank) gradients_.slopes = memory_.output(s.wide, {s.heads});
    if (scores_.sinks.rank) gradients_.sinks = memory_.output(s.wide, {s.heads});
  }

  Sizes sizes_;
  tw_request request_{};
  tw_options options_{};
  tw_mask mask_{};
  tw_scores scores_{};
  tw_dropout dropout_{};
  tw_sequences used_{};
  tw_gradients gradients_{};
};

class Merge final : public Call {
 public:
  explicit Merge(std::uint64_t seed) : Call(Kind::kMerge, seed) {
    const Sizes s(memory_);
    const std::vector<std::int64_t> output{s.batch, s.length, s.heads, s.value_dim};
    const std::vector<std::int64_t> lse{s.batch, s.heads, s.length};
    for (std::size_t part = 0; part < outputs_.size(); ++part) {
      outputs_[part] = memory_.input(s.wide, output);
      lses_[part] = memory_.input(s.wide, lse);
    }
    request_.size = sizeof request_;
    request_.outputs = outputs_.data();
    request_.lses = lses_.data();
    request_.parts = static_cast<std::int64_t>(outputs_.size());
    request_.output = memory_.output(s.wide, output);
    request_.lse = memory_.output(s.wide, lse);
  }

 protected:
  tw_status make(const tw_execution& where, bool refused) override {
    tw_merge_request request = request_;
    if (refused) request.parts = -1;
    return tw_merge(&request, &where, message_, sizeof message_);
  }

 private:
  std::array<tw_tensor, 3> outputs_{}, lses_{};
  tw_merge_request request_{};
};

class Rotary final : public Call {
 public:
  explicit Rotary(std::uint64_t seed) : Call(Kind::kRotary, seed) {
    const Sizes s(memory_);
    rotation_.size = sizeof rotation_;
    rotation_.cosine = memory_.input(TW_FLOAT32, {s.length, s.dim / 2});
    rotation_.sine = memory_.input(TW_FLOAT32, {s.length, s.dim / 2});
    request_.size = sizeof request_;
    request_.rotation = &rotation_;
    request_.input = memory_.input(s.dtype, {s.batch, s.length, s.heads, s.dim});
    request_.output = memory_.output(s.dtype, {s.batch, s.length, s.heads, s.dim});
    request_.inverse = memory_.below(2) == 0;
  }

 protected:
  tw_status make(const tw_execution& where, bool refused) override {
    tw_rotary_request request = request_;
    if (refused) request.fixed = 7;
    return tw_rotary(&request, &where, message_, sizeof message_);
  }

 private:
  tw_rotation rotation_{};
  tw_rotary_request request_{};
};

class Append final : public Call {
 public:
  explicit Append(std::uint64_t seed) : Call(Kind::kAppend, seed) {
    const Sizes s(memory_);
    const std::int64_t capacity = s.length + 40;
    rotation_.size = sizeof rotation_;
    rotation_.cosine = memory_.input(TW_FLOAT32, {capacity, s.dim / 2});
    rotation_.sine = memory_.input(TW_FLOAT32, {capacity, s.dim / 2});
    request_.size = sizeof request_;
    request_.rotation = &rotation_;
    request_.key = memory_.input(s.dtype, {s.batch, s.length, s.key_heads, s.dim});
    request_.value = memory_.input(s.dtype, {s.batch, s.length, s.key_heads, s.value_dim});
    request_.key_cache = memory_.output(s.dtype, {s.batch, capacity, s.key_heads, s.dim});
    request_.value_cache = memory_.output(s.dtype, {s.batch, capacity, s.key_heads, s.value_dim});
    request_.lengths = memory_.indices(
        std::vector<std::int64_t>(static_cast<std::size_t>(s.batch), memory_.below(40)));
    request_.query = memory_.input(s.dtype, {s.batch, s.length, s.heads, s.dim});
    request_.rotated_query = memory_.output(s.dtype, {s.batch, s.length, s.heads, s.dim});
  }

 protected:
  tw_status make(const tw_execution& where, bool refused) override {
    tw_append_request request = request_;
    if (refused) request.fixed_query = 7;
    return tw_append(&request, &where, message_, sizeof message_);
  }

 private:
  tw_rotation rotation_{};
  tw_append_request request_{};
};

}  // namespace

std::unique_ptr<Call> draw_call(Kind kind, std::uint64_t seed) {
  switch (kind) {
    case Kind::kMerge:
      return std::make_unique<Merge>(seed);
    case Kind::kRotary:
      return std::make_unique<Rotary>(seed);
    case Kind::kAppend:
      return std::make_unique<Append>(seed);
    case Kind::kForward:
    case Kind::kBackward:
    case Kind::kProbabilities:
      break;
  }
  return std::make_unique<Attention>(kind, seed);
}

}  // namespace tilewise::robust
