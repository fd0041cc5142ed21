// Several compilations at the same time. NVRTC of CUDA 13 compiles in threads side by side; that of
// CUDA 12 lets them wait for each other, which costs nothing.
#pragma once

#include <cstddef>
#include <functional>

namespace tilewise::cuda {

// Calls body(i), which must not throw, for each i below `count`, in as many threads as there are
// processors and tasks. Where threads cannot be had, fewer do the same.
void at_once(std::size_t count, const std::function<void(std::size_t)>& body);

}  // namespace tilewise::cuda
