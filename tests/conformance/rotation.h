// Random rotary tables, for the library and for the oracle.
#pragma once

#include <cmath>

#include "conformance/field.h"
#include "oracle/rotary.h"

namespace tilewise::conformance {

class Tables {
 public:
  Tables(std::int64_t dim, std::int64_t rows, oracle::Random& random) {
    const std::int64_t columns = random.integer(1, dim / 2);
    interleaved_ = random.chance(0.5);
    const tw_dtype dtype = random.chance(0.5) ? TW_FLOAT64 : TW_FLOAT32;
    cosine_ = Field::scattered(dtype, {rows, columns}, {Role::kOutput}, random);
    sine_ = Field::scattered(dtype, {rows, columns}, {Role::kOutput}, random);
    for (std::int64_t p = 0; p < rows; ++p) {
      for (std::int64_t c = 0; c < columns; ++c) {
        const double angle = static_cast<double>(p) * std::pow(0.7, static_cast<double>(c));
        cosine_.write({p, c}, std::cos(angle));
        sine_.write({p, c}, std::sin(angle));
      }
    }
  }

  [[nodiscard]] tw_rotation view() const {
    tw_rotation rotation{};
    rotation.size = sizeof rotation;
    rotation.cosine = cosine_.view();
    rotation.sine = sine_.view();
    rotation.interleaved = interleaved_ ? 1 : 0;
    return rotation;
  }

  [[nodiscard]] oracle::Rotation oracle() const {
    const std::int64_t rows = cosine_.size(0), columns = cosine_.size(1);
    oracle::Rotation rotation{oracle::Tensor({rows, columns}), oracle::Tensor({rows, columns}),
                              interleaved_, false};
    for (std::int64_t p = 0; p < rows; ++p) {
      for (std::int64_t c = 0; c < columns; ++c) {
        rotation.cosine.at(p, c) = cosine_.read({p, c});
        rotation.sine.at(p, c) = sine_.read({p, c});
      }
    }
    return rotation;
  }

 private:
  Field cosine_, sine_;
  bool interleaved_ = false;
};

}  // namespace tilewise::conformance
