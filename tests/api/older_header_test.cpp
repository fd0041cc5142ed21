// Programs that were compiled against the first header: their structs have the sizes of that time,
// and behind each of them memory ends.
#include <gtest/gtest.h>

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "guarded_memory.h"
#include "tilewise/tilewise.hpp"

namespace tilewise {
namespace {

std::size_t first_size(const std::string& name) {
  static const std::map<std::string, std::size_t> kSizes{
      {"tw_mask", 320},    {"tw_scores", 416},  {"tw_dropout", 72},   {"tw_sequences", 400},
      {"tw_cache", 264},   {"tw_scaling", 520}, {"tw_options", 72},   {"tw_gradients", 1032},
      {"tw_request", 664}, {"tw_parallel", 32}, {"tw_execution", 56},
  };
  return kSizes.at(name);
}

// A struct as the first header had it.
class Old {
 public:
  template <class T>
  Old(const char* name, T from) : memory_(sized(from, first_size(name)), first_size(name)) {}

  template <class T>
  const T* as() const {
    return static_cast<const T*>(memory_.get());
  }

 private:
  template <class T>
  static const T* sized(T& from, std::size_t bytes) {
    from.size = bytes;
    return &from;
  }

  EndsAfter memory_;
};

// A request as a program of that time makes it, all of whose structs are old.
class OldRequest {
 public:
  explicit OldRequest(const Request& from)
      : mask_("tw_mask", detail::lowered(from.mask)),
        scores_("tw_scores", detail::lowered(from.scores)),
        dropout_("tw_dropout", detail::lowered(from.dropout)),
        side_("tw_sequences", detail::lowered(from.keys)),
        cache_("tw_cache", detail::lowered(from.cache)),
        scaling_("tw_scaling", detail::lowered(from.scaling)),
        gradients_("tw_gradients", detail::lowered(from.gradients)),
        options_("tw_options", options()),
        request_("tw_request", request(from)) {}

  const tw_request* get() const { return request_.as<tw_request>(); }

 private:
  tw_options options() const {
    tw_options to{};
    to.mask = mask_.as<tw_mask>();
    to.scores = scores_.as<tw_scores>();
    to.dropout = dropout_.as<tw_dropout>();
    to.queries = to.keys = side_.as<tw_sequences>();
    to.cache = cache_.as<tw_cache>();
    to.scaling = scaling_.as<tw_scaling>();
    return to;
  }

  tw_request request(const Request& from) const {
    tw_request to{};
    to.query = from.query;
    to.key = from.key;
    to.value = from.value;
    to.output = from.output;
    to.lse = from.lse;
    to.options = options_.as<tw_options>();
    if (from.gradients.output.rank > 0) to.gradients = gradients_.as<tw_gradients>();
    return to;
  }

  Old mask_, scores_, dropout_, side_, cache_, scaling_, gradients_, options_, request_;
};

using Call = tw_status (*)(const tw_request*, const tw_execution*, char*, std::size_t);

void expect_ok(Call call, const Request& request) {
  std::vector<std::byte> workspace(1 << 20);
  tw_execution execution{};
  execution.workspace = workspace.data();
  execution.workspace_bytes = workspace.size();
  execution.threads = 2;
  const Old old_execution("tw_execution", execution);
  const OldRequest old_request(request);
  char message[512];
  EXPECT_EQ(call(old_request.get(), old_execution.as<tw_execution>(), message, sizeof message),
            TW_OK)
      << message;
}

// Causal attention with a softcap, and what it gives.
class OlderHeader : public testing::Test {
 protected:
  static constexpr std::int64_t kRows = 3, kDim = 4;
  using Numbers = std::vector<float>;

  OlderHeader() {
    for (std::size_t i = 0; i < input_.size(); ++i) input_[i] = 0.25f * static_cast<float>(i % 7);
  }

  static Tensor rows(Numbers& numbers) { return dense(numbers.data(), {1, kRows, 1, kDim}); }

  Request forward_into(Numbers& output, Numbers& lse) {
    Request request;
    request.query = request.key = request.value = rows(input_);
    request.output = rows(output);
    request.lse = dense(lse.data(), {1, 1, kRows});
    request.mask = causal();
    request.scores.softcap = 5;
    return request;
  }

  Numbers input_ = Numbers(kRows * kDim);
};

TEST_F(OlderHeader, ForwardGivesTheSameBits) {
  Numbers now(input_.size()), before(input_.size()), lse_now(kRows), lse_before(kRows);
  ASSERT_TRUE(forward(forward_into(now, lse_now)).ok());
  expect_ok(tw_forward, forward_into(before, lse_before));
  EXPECT_EQ(now, before);
  EXPECT_EQ(lse_now, lse_before);
}

TEST_F(OlderHeader, BackwardGivesTheSameBits) {
  Numbers output(input_.size()), lse(kRows);
  Request request = forward_into(output, lse);
  ASSERT_TRUE(forward(request).ok());
  std::vector<Numbers> now(3, Numbers(input_.size())), before = now;
  const auto want = [&](std::vector<Numbers>& to) {
    request.gradients.output = rows(input_);
    request.gradients.query = rows(to[0]);
    request.gradients.key = rows(to[1]);
    request.gradients.value = rows(to[2]);
    return request;
  };
  ASSERT_TRUE(backward(want(now)).ok());
  expect_ok(tw_backward, want(before));
  EXPECT_NE(now[0], Numbers(input_.size()));
  EXPECT_EQ(now, before);
}

}  // namespace
}  // namespace tilewise
