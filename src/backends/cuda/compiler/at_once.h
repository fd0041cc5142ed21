// Runs several compilations in parallel threads. NVRTC of CUDA 13 compiles them in parallel; NVRTC
// of CUDA 12 compiles one after the other, and then the threads gain nothing.
#pragma once

#include <cstddef>
#include <functional>

namespace tilewise::cuda {

// How many compilations fit into `bytes` of free memory, at least one. 400 MB are reserved for
// each; one of the largest kernels took NVRTC 12.8 150 MB. 0 bytes means unknown, and sets no
// limit.
std::size_t most_at_once(double bytes);

// Calls body(i) for each i below `count`; body must not throw. Uses at most as many threads as
// there are calls and processors, and as compilations fit into memory. If the system starts fewer
// threads, those do all the work.
void at_once(std::size_t count, const std::function<void(std::size_t)>& body);

}  // namespace tilewise::cuda
