#include "fuzz/attention.h"

#include "fuzz/drawing.h"

namespace tilewise::fuzz {
namespace {

enum class Storage { kDense, kPacked, kPages, kRows };

// One side of the call as it is drawn; `length` is that of the longest sequence or its capacity.
struct SideDraw {
  Storage storage = Storage::kDense;
  std::int64_t length = 0, tokens = 0, page_size = 0, outer = 0;

  [[nodiscard]] Shape rows(std::int64_t batch, std::int64_t heads, std::int64_t dim) const {
    if (storage == Storage::kPacked) return {tokens, heads, dim};
    if (storage == Storage::kPages) return {outer, page_size, heads, dim};
    return {storage == Storage::kRows ? outer : batch, length, heads, dim};
  }
};

class Builder {
 public:
  Builder(Bytes& bytes, Memory& memory, Attention& call)
      : bytes_(bytes), draw_(bytes, memory), call_(call) {}

  void build() {
    link();
    batch_ = bytes_.from(0, 3);
    key_heads_ = bytes_.from(1, 2);
    heads_ = key_heads_ * bytes_.from(1, 3);
    dim_ = bytes_.from(1, 6);
    value_dim_ = bytes_.from(1, 6);
    type_ = draw_.float_type();
    // Usually below one tile of rows, sometimes over its end.
    const std::int64_t most = bytes_.byte() % 8 == 0 ? 70 : 12;
    queries_ =
        side(call_.options.queries.known, most, bytes_.flag() ? Storage::kPacked : Storage::kDense);
    keys_ = side(call_.options.keys.known, most, static_cast<Storage>(bytes_.byte() % 4));
    operands();
    if (bytes_.flag()) mask();
    if (bytes_.flag()) scores();
    if (bytes_.flag()) dropout();
    if (bytes_.byte() % 4 == 0) scaling();
    if (call_.operation == TW_BACKWARD) gradients();
  }

 private:
  void link() {
    Options& options = call_.options;
    options.all.known.mask = &options.mask.known;
    options.all.known.scores = &options.scores.known;
    options.all.known.dropout = &options.dropout.known;
    options.all.known.queries = &options.queries.known;
    options.all.known.keys = &options.keys.known;
    options.all.known.cache = &options.cache.known;
    options.all.known.scaling = &options.scaling.known;
    options.all.known.deterministic = bytes_.bit();
    call_.request.known.options = &options.all.known;
    if (call_.operation == TW_BACKWARD) call_.request.known.gradients = &call_.gradients.known;
  }

  SideDraw side(tw_sequences& sequences, std::int64_t most, Storage storage) {
    SideDraw side{.storage = storage, .length = bytes_.from(0, most)};
    const std::uint8_t features = bytes_.byte();
    if (storage == Storage::kPacked) {
      std::int64_t longest = 0;
      const Shape offsets = draw_.offsets(batch_, side.length, longest);
      sequences.offsets = draw_.integers(offsets);
      side.length = longest;
      side.tokens = offsets.back() + bytes_.from(0, 2);
      if ((features & 4) == 0) return side;
      // Larger than needed, which masks and biases then have to be, too.
      sequences.max_length = longest + 1;
      side.length = std::min(longest + 1, side.tokens);
      return side;
    }
    tw_cache& cache = call_.options.cache.known;
    if (storage == Storage::kRows) {
      side.outer = batch_ + bytes_.from(0, 1);
      cache.batch_index = draw_.integers(places(batch_, side.outer));
    } else if (storage == Storage::kPages) {
      side.page_size = bytes_.from(1, 5);
      const std::int64_t columns = (side.length + side.page_size - 1) / side.page_size;
      side.outer = batch_ * columns + 1;
      cache.page_table = draw_.integers(places(batch_ * columns, side.outer));
      shape_table(columns, cache.page_table);
      side.length = columns * side.page_size;
    }
    if ((features & 1) != 0 || storage == Storage::kPages)
      sequences.used = draw_.integers(draw_.lengths(batch_, side.length));
    if ((features & 2) != 0)
      sequences.start = draw_.integers(Shape(static_cast<std::size_t>(batch_), 0));
    return side;
  }

  // `count` places of `outer`, one after another from a drawn one on.
  Shape places(std::int64_t count, std::int64_t outer) {
    const std::int64_t first = bytes_.byte();
    Shape places;
    for (std::int64_t n = 0; n < count; ++n) places.push_back((first + n) % outer);
    return places;
  }

  void shape_table(std::int64_t columns, tw_tensor& table) const {
    table.rank = 2;
    table.shape[0] = batch_;
    table.shape[1] = columns;
    table.stride[0] = columns;
    table.stride[1] = 1;
  }

  // float32, or in some calls with a query of float64 that type.
  std::int32_t wide_type() {
    return type_ == TW_FLOAT64 && bytes_.flag() ? TW_FLOAT64 : TW_FLOAT32;
  }

  Shape pairs() const { return {batch_, heads_, queries_.length, keys_.length}; }

  void operands() {
    tw_request& request = call_.request.known;
    request.query = draw_.input(type_, queries_.rows(batch_, heads_, dim_));
    request.key = draw_.input(type_, keys_.rows(batch_, key_heads_, dim_));
    request.value = draw_.input(type_, keys_.rows(batch_, key_heads_, value_dim_));
    if (call_.operation == TW_PROBABILITIES) {
      request.output = draw_.output(draw_.float_type(), pairs());
      return;
    }
    request.output = draw_.output(draw_.float_type(), queries_.rows(batch_, heads_, value_dim_));
    if (call_.operation == TW_BACKWARD || bytes_.flag())
      request.lse = draw_.output(wide_type(), lse());
  }

  Shape lse() const {
    if (queries_.storage == Storage::kPacked) return {heads_, queries_.tokens};
    return {batch_, heads_, queries_.length};
  }

  void mask() {
    tw_mask& mask = call_.options.mask.known;
    mask.has_left = bytes_.bit();
    mask.has_right = bytes_.bit();
    if (mask.has_left != 0) mask.left = bytes_.from(-4, 20);
    if (mask.has_right != 0) mask.right = bytes_.from(-4, 20);
    mask.diagonal = static_cast<std::int32_t>(bytes_.from(0, 2));
    if (mask.diagonal == TW_SHIFTED) mask.shift = bytes_.from(-80, 80);
    mask.chunk = bytes_.from(0, 9);
    const std::uint8_t tensors = bytes_.byte();
    if ((tensors & 1) != 0) mask.visible = draw_.broadcast(TW_BOOL, pairs());
    if ((tensors & 2) == 0) return;
    mask.block_query = 16 * static_cast<std::int32_t>(bytes_.from(1, 3));
    mask.block_key = 16 * static_cast<std::int32_t>(bytes_.from(1, 3));
    const auto blocks = [](std::int64_t length, std::int64_t block) {
      return (length + block - 1) / block;
    };
    const bool by_batch = bytes_.flag(), by_head = bytes_.flag();
    mask.blocks = draw_.input(
        TW_BOOL, {by_batch ? batch_ : 1, by_head ? heads_ : 1,
                  blocks(queries_.length, mask.block_query), blocks(keys_.length, mask.block_key)});
  }

  void scores() {
    tw_scores& scores = call_.options.scores.known;
    scores.has_scale = bytes_.bit();
    if (scores.has_scale != 0) scores.scale = static_cast<double>(bytes_.from(-8, 8)) / 4;
    scores.softcap = static_cast<double>(bytes_.from(0, 3));
    const std::uint8_t tensors = bytes_.byte();
    if ((tensors & 1) != 0) scores.slopes = draw_.input(wide_type(), {heads_});
    if ((tensors & 2) != 0) scores.slopes = draw_.input(wide_type(), {batch_, heads_});
    if ((tensors & 4) != 0) scores.bias = draw_.broadcast(draw_.float_type(), pairs());
    if ((tensors & 8) != 0) scores.sinks = draw_.input(wide_type(), {heads_});
  }

  void dropout() {
    tw_dropout& dropout = call_.options.dropout.known;
    dropout.probability = static_cast<double>(bytes_.byte()) / 256;
    dropout.seed = bytes_.byte();
    if (bytes_.flag()) dropout.state = call_.state;
    for (std::int64_t& base : dropout.base) base = bytes_.byte();
  }

  void scaling() {
    tw_scaling& scaling = call_.options.scaling.known;
    const std::uint8_t tensors = bytes_.byte();
    const Shape factors{batch_, key_heads_};
    if ((tensors & 1) != 0) scaling.query = draw_.broadcast(wide_type(), factors);
    if ((tensors & 2) != 0) scaling.key = draw_.broadcast(wide_type(), factors);
    if ((tensors & 4) != 0) scaling.value = draw_.broadcast(wide_type(), factors);
    if ((tensors & 8) != 0 && call_.operation == TW_BACKWARD)
      scaling.output_gradient = draw_.broadcast(wide_type(), factors);
  }

  tw_tensor gradient_of(const tw_tensor& tensor) {
    return draw_.output(draw_.float_type(), Shape(tensor.shape, tensor.shape + tensor.rank));
  }

  void gradients() {
    tw_gradients& gradients = call_.gradients.known;
    const tw_request& request = call_.request.known;
    const tw_scores& scores = call_.options.scores.known;
    const std::uint8_t wanted = bytes_.byte();
    gradients.output =
        draw_.input(draw_.float_type(),
                    Shape(request.output.shape, request.output.shape + request.output.rank));
    if ((wanted & 1) != 0) gradients.lse = draw_.input(wide_type(), lse());
    if ((wanted & 2) == 0) gradients.query = gradient_of(request.query);
    if ((wanted & 4) == 0) gradients.key = gradient_of(request.key);
    if ((wanted & 8) == 0) gradients.value = gradient_of(request.value);
    if ((wanted & 16) == 0 && scores.bias.rank > 0) gradients.bias = gradient_of(scores.bias);
    if ((wanted & 32) == 0 && scores.slopes.rank > 0) gradients.slopes = gradient_of(scores.slopes);
    if ((wanted & 64) == 0 && scores.sinks.rank > 0) gradients.sinks = gradient_of(scores.sinks);
  }

  Bytes& bytes_;
  Drawing draw_;
  Attention& call_;
  std::int64_t batch_ = 0, heads_ = 0, key_heads_ = 0, dim_ = 0, value_dim_ = 0;
  std::int32_t type_ = TW_FLOAT32;
  SideDraw queries_, keys_;
};

}  // namespace

Attention::Attention(Bytes& bytes, Memory& memory)
    : operation(static_cast<tw_operation>(bytes.byte() % 3)) {
  Builder(bytes, memory, *this).build();
}

}  // namespace tilewise::fuzz
