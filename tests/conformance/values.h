// The numbers of a case, by family, written into what its sequences own and nowhere else.
#pragma once

#include "conformance/case.h"
#include "conformance/setup.h"
#include "oracle/random.h"

namespace tilewise::conformance {

void fill_values(const Case& drawn, oracle::Random& random, Setup& setup);

}  // namespace tilewise::conformance
