#include "fuzz/drawing.h"

namespace tilewise::fuzz {

std::int32_t Drawing::float_type() {
  constexpr std::array<std::int32_t, 6> kTypes{TW_FLOAT32,  TW_FLOAT64,     TW_FLOAT16,
                                               TW_BFLOAT16, TW_FLOAT8_E4M3, TW_FLOAT8_E5M2};
  return bytes_.one_of(kTypes);
}

tw_tensor Drawing::output(std::int32_t dtype, const Shape& shape) {
  const std::uint8_t layout = bytes_.byte() % 4;
  if (layout == 0 || shape.size() < 2) return memory_.tensor(dtype, shape);
  Shape wide = shape;
  wide[wide.size() - 2] += 1;
  if (layout == 1) wide.back() += 2;
  tw_tensor made = memory_.tensor(dtype, wide);
  std::copy(shape.begin(), shape.end(), made.shape);
  if (layout == 2 && shape[0] > 1) {
    made.byte_offset =
        (shape[0] - 1) * made.stride[0] * static_cast<std::int64_t>(tw_dtype_bytes(dtype));
    made.stride[0] = -made.stride[0];
  }
  return made;
}

tw_tensor Drawing::input(std::int32_t dtype, const Shape& shape) {
  if (bytes_.byte() % 8 > 0 || shape.size() < 2) return output(dtype, shape);
  Shape narrow = shape;
  narrow[0] = std::min<std::int64_t>(narrow[0], 1);
  tw_tensor made = memory_.tensor(dtype, narrow);
  made.shape[0] = shape[0];
  made.stride[0] = 0;
  return made;
}

tw_tensor Drawing::broadcast(std::int32_t dtype, Shape shape) {
  const std::uint8_t ones = bytes_.byte();
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    if ((ones >> axis & 1) != 0) shape[axis] = 1;
  }
  return input(dtype, shape);
}

Shape Drawing::lengths(std::int64_t batch, std::int64_t most) {
  Shape lengths;
  for (std::int64_t b = 0; b < batch; ++b) lengths.push_back(bytes_.from(0, most));
  return lengths;
}

Shape Drawing::offsets(std::int64_t batch, std::int64_t most, std::int64_t& longest) {
  Shape offsets{bytes_.from(0, 2)};
  for (const std::int64_t length : lengths(batch, most)) {
    offsets.push_back(offsets.back() + length);
    longest = std::max(longest, length);
  }
  return offsets;
}

}  // namespace tilewise::fuzz
