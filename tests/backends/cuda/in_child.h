// A child of the test in which tests/backends/cuda/fake_cuda.cpp is the driver. Each test has one
// of its own, since a process opens its driver once.
#pragma once

#include <functional>
#include <string>

#include "fake_cuda.h"

namespace tilewise::cuda {

// What `body` returns there. A child that dies says so.
std::string in_child(const std::function<std::string(FakeCuda&)>& body);

}  // namespace tilewise::cuda
