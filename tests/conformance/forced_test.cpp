// Skips the tests if the environment forces an instruction set that this machine lacks. An unknown
// name is a mistake, and fails.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "conformance/call.h"

namespace tilewise::conformance {
namespace {

// The exit status that ctest counts as skipped.
constexpr int kLacks = 77;

class InstructionSet : public testing::Environment {
 public:
  void SetUp() override {
    const Case drawn = plain_case(1, {.queries = 1, .keys = 1, .dim = 1, .value_dim = 1}, {});
    const auto setup = make_setup(drawn);
    Request request(drawn, setup);
    std::size_t bytes = 0;
    const Outcome outcome = request.workspace(TW_FORWARD, bytes);
    if (outcome.status == TW_OK) return;
    ASSERT_NE(outcome.message.find("which this machine lacks"), std::string::npos)
        << outcome.message;
    std::printf("%s\n", outcome.message.c_str());
    std::exit(kLacks);
  }
};

// gtest owns it.
[[maybe_unused]] const testing::Environment* const kInstructionSet =
    testing::AddGlobalTestEnvironment(new InstructionSet);

}  // namespace
}  // namespace tilewise::conformance
