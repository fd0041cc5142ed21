// A child of the test in which tests/backends/cuda/fake_cuda.cpp is the driver. Each test has one
// of its own, since a process opens its driver once.
#pragma once

#include <functional>
#include <latch>
#include <string>
#include <thread>
#include <vector>

#include "fake_cuda.h"

namespace tilewise::cuda {

// What `body` returns there. A child that dies says so.
std::string in_child(const std::function<std::string(FakeCuda&)>& body);

// Runs `work` in `count` threads. They spin until all have started, so that their work overlaps.
template <class Work>
void in_threads(int count, const Work& work) {
  std::latch start(count);
  std::vector<std::thread> threads;
  for (int n = 0; n < count; ++n)
    threads.emplace_back([&] {
      start.count_down();
      while (!start.try_wait()) std::this_thread::yield();
      work();
    });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace tilewise::cuda
