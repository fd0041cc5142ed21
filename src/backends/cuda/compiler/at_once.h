// Several compilations at the same time. NVRTC of CUDA 13 compiles in threads side by side; that of
// CUDA 12 lets them wait for each other, which costs nothing.
#pragma once

#include <cstddef>
#include <functional>

namespace tilewise::cuda {

// How many have room in so much free memory, one at least: 400 MB are counted for each, well above
// the 150 that one of the largest kernels took NVRTC 12.8. 0 bytes: nothing is known, and nothing
// bounds them.
std::size_t most_at_once(double bytes);

// Calls body(i), which must not throw, for each i below `count`, in as many threads as there are
// processors and tasks, and as memory has room for. Where threads cannot be had, fewer do the same.
void at_once(std::size_t count, const std::function<void(std::size_t)>& body);

}  // namespace tilewise::cuda
