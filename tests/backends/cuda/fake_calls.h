// Calls of the C face on a driver that drives nothing and an NVRTC that compiles nothing.
#pragma once

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "environment.h"
#include "in_child.h"
#include "plan/backend.h"
#include "tilewise/tilewise.hpp"

namespace tilewise::cuda {

inline constexpr std::int64_t kBatch = 2, kQueries = 3, kHeads = 2, kDim = 8, kKeys = 8;

inline void* stream_of(int device) {
  return reinterpret_cast<void*>(static_cast<std::uintptr_t>((device + 1) * 4096 + 64));
}

// Requests on memory that nobody computes with.
class FakeCalls {
 public:
  FakeCalls() {
    where.device = {TW_CUDA, 0};
    where.stream = stream_of(0);
    where.device_tables = true;
    where.workspace = numbers_.data();
    where.workspace_bytes = numbers_.size() * sizeof(float) / 2;
  }

  tilewise::face::Tensor floats(std::initializer_list<std::int64_t> shape) {
    std::int64_t count = 1;
    for (const std::int64_t size : shape) count *= size;
    float* data = numbers_.data() + used_;
    used_ += static_cast<std::size_t>(count + 15) / 16 * 16;
    return dense(data, shape);
  }
  tilewise::face::Tensor integers(std::initializer_list<std::int64_t> shape) {
    tilewise::face::Tensor made = floats(shape);
    made.dtype = TW_INT32;
    std::memset(made.data, 0, 64);
    return made;
  }

  Request attention() {
    Request request;
    request.query = floats({kBatch, kQueries, kHeads, kDim});
    request.key = floats({kBatch, kKeys, kHeads, kDim});
    request.value = floats({kBatch, kKeys, kHeads, kDim});
    request.output = floats({kBatch, kQueries, kHeads, kDim});
    return request;
  }
  Request padded() {
    Request request = attention();
    request.keys = {.used = integers({kBatch})};
    return request;
  }
  Request gradients() {
    Request request = attention();
    request.lse = floats({kBatch, kHeads, kQueries});
    request.gradients = {.output = floats({kBatch, kQueries, kHeads, kDim}),
                         .query = floats({kBatch, kQueries, kHeads, kDim}),
                         .key = floats({kBatch, kKeys, kHeads, kDim})};
    return request;
  }
  // Two kernels: of the keys, and of the queries that turn with them.
  AppendRequest step() {
    AppendRequest request;
    request.key = floats({kBatch, 1, kHeads, kDim});
    request.value = floats({kBatch, 1, kHeads, kDim});
    request.key_cache = floats({kBatch, kKeys, kHeads, kDim});
    request.value_cache = floats({kBatch, kKeys, kHeads, kDim});
    request.lengths = integers({kBatch});
    request.rotation =
        tilewise::face::Rotation{.cosine = floats({kKeys, 4}), .sine = floats({kKeys, 4})};
    request.query = floats({kBatch, 1, kHeads, kDim});
    request.rotated_query = floats({kBatch, 1, kHeads, kDim});
    return request;
  }

  Execution where;

 private:
  // The workspace, then the tensors.
  std::vector<float> numbers_ = std::vector<float>(1 << 16);
  std::size_t used_ = 1 << 15;
};

// What `body` says, which is nothing when all is well, in a child that has the fake driver, the
// fake NVRTC, no cache and the library's own backends.
inline std::string on_fake(const std::function<std::string(FakeCuda&, FakeCalls&)>& body) {
  return in_child([&](FakeCuda& fake) {
    setenv("TILEWISE_NVRTC", TILEWISE_FAKE_NVRTC, 1);
    setenv("TILEWISE_CACHE", "", 1);
    replace_backends({});
    forget_settings();
    FakeCalls calls;
    return body(fake, calls);
  });
}

inline std::string said(const tilewise::face::Status& status) {
  return status.message;
}

}  // namespace tilewise::cuda
