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

TEST(OlderHeader, CallsGiveTheSameBits) {
  constexpr std::int64_t kRows = 3, kDim = 4;
  std::vector<float> input(kRows * kDim), now(kRows * kDim), before(kRows * kDim);
  for (std::size_t i = 0; i < input.size(); ++i) input[i] = 0.25f * static_cast<float>(i % 7);
  Request request;
  request.query = request.key = request.value = dense(input.data(), {1, kRows, 1, kDim});
  request.output = dense(now.data(), {1, kRows, 1, kDim});
  request.mask = causal();
  request.scores.softcap = 5;
  ASSERT_TRUE(forward(request).ok());

  std::vector<std::byte> workspace(1 << 20);
  tw_execution execution{};
  execution.workspace = workspace.data();
  execution.workspace_bytes = workspace.size();
  const Old mask("tw_mask", detail::lowered(request.mask));
  const Old scores("tw_scores", detail::lowered(request.scores));
  const Old dropout("tw_dropout", detail::lowered(request.dropout));
  const Old side("tw_sequences", detail::lowered(request.keys));
  const Old cache("tw_cache", detail::lowered(request.cache));
  const Old scaling("tw_scaling", detail::lowered(request.scaling));
  tw_options options{};
  options.mask = mask.as<tw_mask>();
  options.scores = scores.as<tw_scores>();
  options.dropout = dropout.as<tw_dropout>();
  options.queries = options.keys = side.as<tw_sequences>();
  options.cache = cache.as<tw_cache>();
  options.scaling = scaling.as<tw_scaling>();
  const Old old_options("tw_options", options);
  tw_request asked{};
  asked.query = asked.key = asked.value = request.query;
  asked.output = dense(before.data(), {1, kRows, 1, kDim});
  asked.options = old_options.as<tw_options>();
  const Old old_request("tw_request", asked), old_execution("tw_execution", execution);
  char message[512];
  EXPECT_EQ(tw_forward(old_request.as<tw_request>(), old_execution.as<tw_execution>(), message,
                       sizeof message),
            TW_OK)
      << message;
  EXPECT_EQ(now, before);
}

}  // namespace
}  // namespace tilewise
