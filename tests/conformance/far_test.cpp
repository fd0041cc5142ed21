// Tensors whose rows lie more than 2^31 elements apart must give the same bits as dense ones. The
// memory between the rows is reserved and never touched.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>

#include "conformance/trial.h"

namespace tilewise::conformance {
namespace {

// The rows of a dense tensor, moved `stride` elements apart.
class Far {
 public:
  Far(const Field& near, std::int64_t stride) : view_(near.view()) {
    bytes_ = static_cast<std::size_t>(stride * view_.shape[1]) * sizeof(float);
    memory_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory_ == MAP_FAILED) return;
    for (std::int64_t row = 0; row < view_.shape[1]; ++row) {
      std::memcpy(static_cast<float*>(memory_) + row * stride,
                  static_cast<const float*>(near.view().data) + row * view_.stride[1], row_bytes());
    }
    view_.data = memory_;
    view_.stride[1] = stride;
    view_.byte_size = static_cast<std::int64_t>(bytes_);
  }
  Far(const Far&) = delete;
  Far& operator=(const Far&) = delete;
  ~Far() {
    if (is_there()) munmap(memory_, bytes_);
  }

  [[nodiscard]] bool is_there() const { return memory_ != MAP_FAILED; }
  [[nodiscard]] const tw_tensor& view() const { return view_; }
  [[nodiscard]] bool has_rows_of(const Field& near) const {
    for (std::int64_t row = 0; row < view_.shape[1]; ++row) {
      const auto* own = static_cast<const float*>(memory_) + row * view_.stride[1];
      const auto* other = static_cast<const float*>(near.view().data) + row * near.view().stride[1];
      if (std::memcmp(own, other, row_bytes()) != 0) return false;
    }
    return true;
  }

 private:
  [[nodiscard]] std::size_t row_bytes() const {
    return static_cast<std::size_t>(view_.shape[2] * view_.shape[3]) * sizeof(float);
  }

  tw_tensor view_;
  std::size_t bytes_ = 0;
  void* memory_ = nullptr;
};

TEST(Far, RowsPastTwoToTheThirtyOneElements) {
  constexpr std::int64_t kStride = (std::int64_t{1} << 31) + 7;
  Case drawn = plain_case(17, {.queries = 3, .keys = 5, .heads = 2, .dim = 4, .value_dim = 4},
                          {.input = TW_FLOAT32, .output = TW_FLOAT32, .lse = TW_FLOAT32});
  drawn.mask.band.right = 0;
  Trial near(drawn), far(drawn);
  near.forward();
  near.backward();
  const Far query(far.setup.query, kStride), key(far.setup.key, kStride);
  const Far value(far.setup.value, kStride), gradient(far.setup.gradients.key, kStride);
  if (!query.is_there() || !key.is_there() || !value.is_there() || !gradient.is_there()) {
    GTEST_SKIP() << "the system promises no 150 GB of addresses";
  }
  const auto move = [&](Request& request) {
    request.request.query = query.view();
    request.request.key = key.view();
    request.request.value = value.view();
    request.gradients.key = gradient.view();
  };
  far.run(TW_FORWARD, move);
  far.run(TW_BACKWARD, move);
  EXPECT_TRUE(same_numbers(near.setup.output, far.setup.output));
  EXPECT_TRUE(same_numbers(near.setup.lse, far.setup.lse));
  EXPECT_TRUE(same_numbers(near.setup.gradients.query, far.setup.gradients.query));
  EXPECT_TRUE(same_numbers(near.setup.gradients.value, far.setup.gradients.value));
  EXPECT_TRUE(gradient.has_rows_of(near.setup.gradients.key));
}

}  // namespace
}  // namespace tilewise::conformance
