// The tests, or one scenario of alone.h: --alone SECONDS NAME ARGUMENTS.
#include "cuda_device/alone.h"
#include "robust/process.h"

namespace tilewise::gpu {
namespace {

constexpr robust::Scenario kScenarios[] = {
    {"wait-for-nothing", wait_for_nothing},
    {"keep-contexts", keep_contexts},
    {"tell-devices-apart", tell_devices_apart},
    {"capture-cold", capture_cold},
    {"poison", poison},
    {"reset", reset},
    {"fill-memory", fill_memory},
    {"fork-early", fork_early},
    {"fork-late", fork_late},
    {"fail-one", fail_one},
};

}  // namespace
}  // namespace tilewise::gpu

int main(int count, char** words) {
  return tilewise::robust::run_tests_or_one(count, words, tilewise::gpu::kScenarios);
}
