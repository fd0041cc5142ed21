// Lays tensors out and guards what a call must not touch.
#include "conformance/field.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <sstream>
#include <utility>

namespace tilewise::conformance {
namespace {

// The strides of a layout, its first element, and the number of elements it spans.
struct Strides {
  std::vector<std::int64_t> stride;
  std::int64_t first = 0, span = 0;
};

std::vector<std::size_t> memory_order(std::size_t rank, oracle::Random& random) {
  std::vector<std::size_t> order(rank);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::reverse(order.begin(), order.end());  // innermost first
  for (std::size_t i = 1; i + 1 < rank; ++i) {
    const auto other = static_cast<std::size_t>(
        random.integer(static_cast<std::int64_t>(i), static_cast<std::int64_t>(rank) - 1));
    if (random.chance(0.5)) std::swap(order[i], order[other]);
  }
  return order;
}

std::int64_t absurd_stride(oracle::Random& random) {
  constexpr std::int64_t kAbsurd[] = {
      0, -7, 1, 1000003, std::int64_t{1} << 40U, -(std::int64_t{1} << 40U)};
  return kAbsurd[random.integer(0, 5)];
}

std::int64_t rounded_up(std::int64_t elements, std::int64_t unit) {
  return (elements + unit - 1) / unit * unit;
}

Strides draw_strides(const Shape& shape, const Scatter& scatter, oracle::Random& random) {
  Strides result;
  result.stride.assign(shape.size(), 1);
  std::int64_t next = 1;
  for (const std::size_t axis : memory_order(shape.size(), random)) {
    const bool is_last = axis + 1 == shape.size();
    if (shape[axis] == 1) {
      result.stride[axis] = absurd_stride(random);
      continue;
    }
    std::int64_t stride = next;
    if (!is_last && random.chance(0.25)) stride += random.chance(0.5) ? 1 : random.integer(2, 9);
    if (!is_last && scatter.role == Role::kInput && random.chance(0.06))
      stride = random.integer(0, 1);
    if (!is_last) stride = rounded_up(stride, scatter.unit);
    next = std::max(next, stride * std::max<std::int64_t>(shape[axis], 1));
    const std::int64_t reach = (std::max<std::int64_t>(shape[axis], 1) - 1) * stride;
    result.span += reach;
    if (!is_last && random.chance(0.12)) {
      stride = -stride;
      result.first += reach;
    }
    result.stride[axis] = stride;
  }
  const bool is_empty = std::find(shape.begin(), shape.end(), 0) != shape.end();
  result.span = is_empty ? 0 : result.span + 1;
  if (is_empty) result.first = 0;
  return result;
}

}  // namespace

Field::Field(tw_dtype dtype, const Shape& shape) {
  view_.dtype = dtype;
  view_.rank = static_cast<std::int32_t>(shape.size());
  std::copy(shape.begin(), shape.end(), view_.shape);
}

void Field::allocate(std::int64_t elements, Guarded::Flush flush) {
  const auto count = static_cast<std::size_t>(elements);
  memory_ = Guarded(count * bytes_of(static_cast<tw_dtype>(view_.dtype)), flush);
  owned_.assign(count, false);
  for (std::size_t n = 0; n < count; ++n) {
    store(n, poison(static_cast<tw_dtype>(view_.dtype), n));
  }
  view_.data = memory_.data();
  remember();
}

Field Field::dense(tw_dtype dtype, const Shape& shape) {
  Field field(dtype, shape);
  std::int64_t count = 1;
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    field.view_.stride[axis] = count;
    count *= shape[axis];
  }
  field.allocate(count, Guarded::Flush::kEnd);
  field.view_.byte_size = static_cast<std::int64_t>(field.memory_.size());
  return field;
}

Field Field::scattered(tw_dtype dtype, const Shape& shape, const Scatter& scatter,
                       oracle::Random& random) {
  constexpr std::int64_t kLeads[] = {0, 0, 1, 8};
  Field field(dtype, shape);
  const Strides strides = draw_strides(shape, scatter, random);
  std::copy(strides.stride.begin(), strides.stride.end(), field.view_.stride);
  const std::int64_t lead = rounded_up(kLeads[random.integer(0, 3)], scatter.unit);
  const std::int64_t tail = rounded_up(kLeads[random.integer(0, 3)], scatter.unit);
  field.allocate(lead + strides.span + tail,
                 random.chance(0.5) ? Guarded::Flush::kEnd : Guarded::Flush::kBegin);
  field.first_ = lead + strides.first;

  // `data` may point anywhere before the first element; byte_offset then leads to the element.
  const std::int64_t skipped = random.chance(0.5) ? lead : 0;
  const auto bytes = static_cast<std::int64_t>(bytes_of(dtype));
  field.view_.data = field.memory_.data() + skipped * bytes;
  field.view_.byte_offset = (field.first_ - skipped) * bytes;
  const std::int64_t known = static_cast<std::int64_t>(field.memory_.size()) - skipped * bytes;
  field.view_.byte_size = random.chance(0.7) ? known : 0;
  return field;
}

std::uint64_t Field::load(std::size_t element) const {
  const std::size_t bytes = bytes_of(static_cast<tw_dtype>(view_.dtype));
  std::uint64_t result = 0;
  std::memcpy(&result, memory_.data() + element * bytes, bytes);
  return result;
}

void Field::store(std::size_t element, std::uint64_t bits) {
  const std::size_t bytes = bytes_of(static_cast<tw_dtype>(view_.dtype));
  std::memcpy(memory_.data() + element * bytes, &bits, bytes);
}

std::uint64_t Field::bits(const Index& index) const {
  return load(element(index));
}

double Field::read(const Index& index) const {
  return decode(static_cast<tw_dtype>(view_.dtype), bits(index));
}

void Field::write(const Index& index, double value) {
  store(element(index), encode(static_cast<tw_dtype>(view_.dtype), value));
  own(index);
}

void Field::own(const Index& index) {
  owned_[element(index)] = true;
}

bool Field::unchanged() const {
  return memory_.is_intact() &&
         std::equal(remembered_.begin(), remembered_.end(), bytes().begin(), bytes().end());
}

void Field::restore() {
  std::copy(remembered_.begin(), remembered_.end(), memory_.data());
}

bool Field::unowned_unchanged() const {
  if (!memory_.is_intact()) return false;
  const std::size_t bytes = bytes_of(static_cast<tw_dtype>(view_.dtype));
  for (std::size_t n = 0; n < owned_.size(); ++n) {
    const bool same =
        std::memcmp(memory_.data() + n * bytes, remembered_.data() + n * bytes, bytes) == 0;
    if (!owned_[n] && !same) return false;
  }
  return true;
}

std::string Field::describe() const {
  std::ostringstream text;
  text << name_of(static_cast<tw_dtype>(view_.dtype)) << " (";
  for (int axis = 0; axis < view_.rank; ++axis) text << (axis > 0 ? ", " : "") << size(axis);
  text << ") strides (";
  for (int axis = 0; axis < view_.rank; ++axis) {
    text << (axis > 0 ? ", " : "") << view_.stride[axis];
  }
  text << ") offset " << view_.byte_offset;
  return text.str();
}

}  // namespace tilewise::conformance
