// Tensors that lie twice: on the GPU, between bands of NaN that nobody may read or write, and on
// the host, where the processor's plain backend says what results must be.
#pragma once

#include <deque>
#include <vector>

#include "cuda_device/gpu.h"
#include "tilewise/tilewise.hpp"

namespace tilewise::gpu {

class Twins {
 public:
  Twins() = default;
  ~Twins();
  Twins(const Twins&) = delete;
  Twins& operator=(const Twins&) = delete;

  // Each gives the tensor of the GPU.
  Tensor floats(std::initializer_list<std::int64_t> shape);
  Tensor integers(const std::vector<std::int32_t>& numbers,
                  std::initializer_list<std::int64_t> shape);
  Tensor longs(const std::vector<std::int64_t>& numbers);
  // Of NaN: a result.
  Tensor blank(std::initializer_list<std::int64_t> shape);
  Address bytes(std::size_t count);  // all ones

  // The twin on the host, with what it held when it was made or written.
  Tensor on_host(const Tensor& tensor) const;
  Request on_host(const Request& request) const;

  std::vector<float> read(const Tensor& tensor) const;
  // Writes both twins.
  void write(const Tensor& tensor, const void* from) const;

  // NaN again, on the GPU alone.
  void blank_again(const Tensor& tensor) const;

  // Whether all bands are as they were.
  [[nodiscard]] bool is_intact() const;

 private:
  struct Twin {
    Address all = 0;  // the first band
    std::size_t size = 0;
    mutable std::vector<double> host;  // aligned for all types
  };
  static constexpr std::size_t kBand = 4096;

  Tensor made(const void* from, std::size_t bytes, tw_dtype dtype,
              std::initializer_list<std::int64_t> shape);
  Twin& take(std::size_t bytes);
  const Twin& twin_of(const Tensor& tensor) const;

  std::deque<Twin> twins_;
  int drawn_ = 0;
};

// The largest difference between two elements; NaN if one of them is NaN.
float difference(const std::vector<float>& a, const std::vector<float>& b);

// Runs the request's twin on the plain backend and gives its output. Tables lie on the host, too.
std::vector<float> expected(const Twins& twins, const Request& request);

inline constexpr float kNear = 2e-5F;

// A small dense attention, of 2 x 5 queries and 2 x 9 keys; and one on pages.
Request attention(Twins& twins);
Request paged(Twins& twins, const std::vector<std::int32_t>& used,
              const std::vector<std::int32_t>& table);
inline constexpr std::int64_t kPages = 5, kPageSize = 4, kColumns = 3;

// On the GPU, with tables there.
Execution on_device(Handle stream = nullptr);

}  // namespace tilewise::gpu
