// The oracle's own dense tensor: row-major float64 with explicit extents, nothing else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace tilewise::oracle {

struct Tensor {
  std::vector<std::int64_t> shape;
  std::vector<double> values;

  Tensor() = default;
  explicit Tensor(std::vector<std::int64_t> extents, double fill = 0) : shape(std::move(extents)) {
    std::size_t count = 1;
    for (std::int64_t extent : shape) count *= static_cast<std::size_t>(extent);
    values.assign(count, fill);
  }

  // A default-made tensor stands for "not given"; one with a zero extent is given, but empty.
  [[nodiscard]] bool absent() const { return shape.empty(); }

  double& at(std::int64_t i, std::int64_t j = 0, std::int64_t k = 0, std::int64_t l = 0) {
    return values[index(i, j, k, l)];
  }
  [[nodiscard]] double at(std::int64_t i, std::int64_t j = 0, std::int64_t k = 0,
                          std::int64_t l = 0) const {
    return values[index(i, j, k, l)];
  }

  // The contiguous numbers from (i, j, 0) on.
  double* row(std::int64_t i, std::int64_t j) { return values.data() + index(i, j, 0, 0); }
  [[nodiscard]] const double* row(std::int64_t i, std::int64_t j) const {
    return values.data() + index(i, j, 0, 0);
  }

  // Reads a tensor of rank 3, each extent of which is either full or 1.
  [[nodiscard]] double broadcast(std::int64_t i, std::int64_t j, std::int64_t k) const {
    return at(shape[0] == 1 ? 0 : i, shape[1] == 1 ? 0 : j, shape[2] == 1 ? 0 : k);
  }

 private:
  [[nodiscard]] std::size_t index(std::int64_t i, std::int64_t j, std::int64_t k,
                                  std::int64_t l) const {
    const std::int64_t position[4] = {i, j, k, l};
    std::int64_t result = 0;
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
      result = result * shape[axis] + position[axis];
    }
    return static_cast<std::size_t>(result);
  }
};

}  // namespace tilewise::oracle
