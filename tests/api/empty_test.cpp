// Problems without sequences, queries or keys are problems like others: asked about, explained and
// run, by every backend.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tilewise/tilewise.hpp"

namespace tilewise {
namespace {

struct Sizes {
  std::int64_t batch, queries, keys;
};

constexpr std::int64_t kHeads = 2, kKeyHeads = 1, kDim = 8, kMost = 4096;

class Empty : public testing::TestWithParam<const char*> {
 protected:
  Request request_of(tw_operation operation, const Sizes& s) {
    const auto by_query = [&](auto& memory) {
      return dense(memory.data(), {s.batch, s.queries, kHeads, kDim});
    };
    const auto by_key = [&](auto& memory) {
      return dense(memory.data(), {s.batch, s.keys, kKeyHeads, kDim});
    };
    Request request;
    request.query = by_query(memory_[0]);
    request.key = request.value = by_key(memory_[1]);
    request.output = operation == TW_PROBABILITIES
                         ? dense(memory_[2].data(), {s.batch, kHeads, s.queries, s.keys})
                         : by_query(memory_[2]);
    if (operation != TW_PROBABILITIES)
      request.lse = dense(memory_[3].data(), {s.batch, kHeads, s.queries});
    if (operation != TW_BACKWARD) return request;
    request.gradients.output = by_query(memory_[4]);
    request.gradients.query = by_query(memory_[5]);
    request.gradients.key = by_key(memory_[6]);
    request.gradients.value = by_key(memory_[7]);
    return request;
  }

 private:
  std::vector<std::vector<float>> memory_{8, std::vector<float>(kMost, 1)};
};

std::string name_of_backend(const testing::TestParamInfo<const char*>& info) {
  return info.param;
}

INSTANTIATE_TEST_SUITE_P(Everywhere, Empty, testing::Values("cpu", "plain"), name_of_backend);

TEST_P(Empty, IsAskedAboutExplainedAndRun) {
  for (const tw_operation operation : {TW_FORWARD, TW_BACKWARD, TW_PROBABILITIES}) {
    for (const Sizes& s : {Sizes{0, 70, 70}, Sizes{0, 1, 70}, Sizes{0, 0, 0}, Sizes{2, 0, 70},
                           Sizes{2, 70, 0}, Sizes{2, 1, 0}, Sizes{2, 0, 0}}) {
      SCOPED_TRACE(testing::Message() << "operation " << operation << ", batch " << s.batch << ", "
                                      << s.queries << " queries, " << s.keys << " keys");
      const Request request = request_of(operation, s);
      Execution where;
      where.backend = GetParam();
      std::size_t bytes = 0;
      ASSERT_TRUE(workspace(operation, request, bytes, where).ok());
      std::string words;
      const Status status = explain(operation, request, words, where);
      ASSERT_TRUE(status.ok()) << status.message;
      EXPECT_NE(words.find("not predicted"), std::string::npos) << words;
      const auto call = operation == TW_FORWARD    ? forward
                        : operation == TW_BACKWARD ? backward
                                                   : probabilities;
      const Status done = call(request, where);
      EXPECT_TRUE(done.ok()) << done.message;
    }
  }
}

}  // namespace
}  // namespace tilewise
