// Tests that run on each instruction set that this machine has.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "backends/cpu/isa/isa.h"
#include "backends/cpu/lanes.h"

namespace tilewise::cpu {

inline std::vector<const Isa*> isas_here() {
  std::vector<const Isa*> here;
  for (const Isa* isa : built_isas())
    if (isa->runs_here()) here.push_back(isa);
  return here;
}

class EveryIsa : public testing::TestWithParam<const Isa*> {
 protected:
  [[nodiscard]] const Isa& isa() const { return *GetParam(); }

  // body(kernels) in float and in double.
  template <class Body>
  void in_both(const Body& body) const {
    body(isa().of_numbers.in_float);
    body(isa().of_numbers.in_double);
  }
};

inline std::string isa_name(const testing::TestParamInfo<const Isa*>& info) {
  return info.param->name;
}

#define TW_ON_EVERY_ISA(suite) \
  INSTANTIATE_TEST_SUITE_P(Cpu, suite, testing::ValuesIn(isas_here()), isa_name)

}  // namespace tilewise::cpu
