// Makes the pack smaller: what has come before is said by its place and length (LZ77). A cubin of
// 80 KB becomes 35; gzip -9 makes 22 of it, and is no part of the library.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace tilewise::cuda {

// Repetitions may reach back into `known`, which whoever expands has, too.
std::vector<std::byte> squeeze(std::span<const std::byte> plain,
                               std::span<const std::byte> known = {});

// False for what squeezes to no such number of bytes, whatever it is.
bool expand(std::span<const std::byte> squeezed, std::size_t bytes,
            std::span<const std::byte> known, std::vector<std::byte>& out);

}  // namespace tilewise::cuda
