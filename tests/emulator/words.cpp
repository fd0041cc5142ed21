// What tensor cores and asynchronous copies do, on the processor.
#include <algorithm>
#include <cstring>
#include <vector>

#include "backends/cuda/device/emulated.h"
#include "core/dtype.h"
#include "emulator/block.h"

namespace tilewise::cuda::emulated {
namespace {

using core::uint16;
using emulator::current;
using emulator::kWarp;

// What every lane of the warp has brought, for the one lane that works for all of them; null for
// the others, who find the work done.
template <class Brought>
Brought* const* gather(const char* word, Brought& mine, Brought* (&all)[kWarp]) {
  emulator::Thread& self = current->self();
  const std::uint32_t turn = self.exchanges++ % 2;
  self.brought[turn] = reinterpret_cast<uint64>(&mine);
  current->meet(word);
  if (current->running % kWarp != 0) return nullptr;
  for (int32 lane = 0; lane < kWarp; ++lane)
    all[lane] = reinterpret_cast<Brought*>(current->lane(lane).brought[turn]);
  return all;
}

std::vector<float> decoded(core::SmallFloat format) {
  std::vector<float> numbers;
  for (uint32 code = 0; code < 65536; ++code)
    numbers.push_back(static_cast<float>(decode(format, code)));
  return numbers;
}

const std::vector<float>& numbers_of(bool is_bfloat16) {
  static const std::vector<float> float16 = decoded(core::kFloat16);
  static const std::vector<float> bfloat16 = decoded(core::kBFloat16);
  return is_bfloat16 ? bfloat16 : float16;
}

struct Matrices {
  uint32 row;
  uint32* pairs;
};

// Gives each lane its two elements of one 8 x 8 matrix, or of its transpose.
void hand_out(const uint16* const (&rows)[8], bool transposed, int32 matrix,
              Matrices* const* lanes) {
  for (int32 lane = 0; lane < kWarp; ++lane) {
    const int32 g = lane / 4, t = lane % 4 * 2;
    const uint32 low = transposed ? rows[t][g] : rows[g][t];
    const uint32 high = transposed ? rows[t + 1][g] : rows[g][t + 1];
    lanes[lane]->pairs[matrix] = low | high << 16;
  }
}

struct Product {
  float* sums;
  const Operands* operands;
};

// Element (i, k) of the left side, 16 x 16, comes from lane i % 8 * 4 + k % 8 / 2.
void decode_left(Product* const* lanes, const std::vector<float>& numbers, float (&left)[16][16]) {
  for (int32 lane = 0; lane < kWarp; ++lane) {
    for (int32 pair = 0; pair < 4; ++pair) {
      const uint32 bits = lanes[lane]->operands->left[pair];
      float* at = left[lane / 4 + pair % 2 * 8] + pair / 2 * 8 + lane % 4 * 2;
      at[0] = numbers[bits & 0xFFFF];
      at[1] = numbers[bits >> 16];
    }
  }
}

// The right side, 16 x 8, by its columns: right[n][k] is element (k, n), and comes from lane
// n * 4 + k % 8 / 2.
void decode_right(Product* const* lanes, const std::vector<float>& numbers, float (&right)[8][16]) {
  for (int32 lane = 0; lane < kWarp; ++lane) {
    for (int32 pair = 0; pair < 2; ++pair) {
      const uint32 bits = lanes[lane]->operands->right[pair];
      float* at = right[lane / 4] + pair * 8 + lane % 4 * 2;
      at[0] = numbers[bits & 0xFFFF];
      at[1] = numbers[bits >> 16];
    }
  }
}

float dot(const float (&a)[16], const float (&b)[16]) {
  float sum = 0;
  for (int32 k = 0; k < 16; ++k) sum += a[k] * b[k];
  return sum;
}

}  // namespace

uint32 ballot(bool says) {
  struct Vote {
    bool says;
    uint32 all;
  } mine{says, 0};
  Vote* lanes[kWarp];
  if (gather("warp_ballot", mine, lanes)) {
    uint32 all = 0;
    for (int32 lane = 0; lane < kWarp; ++lane) all |= (lanes[lane]->says ? 1u : 0u) << lane;
    for (Vote* vote : lanes) vote->all = all;
  }
  current->meet("warp_ballot");
  return mine.all;
}

bool any(bool says) {
  struct Vote {
    bool says, any;
  } mine{says, false}, *all[kWarp];
  if (Vote* const* lanes = gather("a vote", mine, all)) {
    const bool found = std::any_of(lanes, lanes + kWarp, [](const Vote* v) { return v->says; });
    for (int32 lane = 0; lane < kWarp; ++lane) lanes[lane]->any = found;
  }
  return mine.any;
}

void load_matrices(uint32 row, bool transposed, uint32 (&pairs)[4]) {
  const char* const word = transposed ? "ldmatrix.trans" : "ldmatrix";
  Matrices mine{row, pairs}, *all[kWarp];
  Matrices* const* lanes = gather(word, mine, all);
  if (!lanes) return;
  for (int32 matrix = 0; matrix < 4; ++matrix) {
    const uint16* rows[8];
    for (int32 r = 0; r < 8; ++r)
      rows[r] = reinterpret_cast<const uint16*>(current->at(lanes[matrix * 8 + r]->row, word));
    hand_out(rows, transposed, matrix, lanes);
  }
}

void multiply(float (&sums)[4], const Operands& operands) {
  Product mine{sums, &operands}, *all[kWarp];
  Product* const* lanes =
      gather(operands.is_bfloat16 ? "mma of bfloat16" : "mma of float16", mine, all);
  if (!lanes) return;
  const std::vector<float>& numbers = numbers_of(operands.is_bfloat16);
  float left[16][16], right[8][16];
  decode_left(lanes, numbers, left);
  decode_right(lanes, numbers, right);
  for (int32 lane = 0; lane < kWarp; ++lane) {
    const int32 g = lane / 4, t = lane % 4 * 2;
    for (int32 i = 0; i < 4; ++i)
      lanes[lane]->sums[i] += dot(left[g + i / 2 * 8], right[t + i % 2]);
  }
}

void copy_later(uint32 to, const void* from, int32 bytes) {
  constexpr std::size_t kBytes = 16;
  if (bytes > 0 && reinterpret_cast<std::uintptr_t>(from) % kBytes != 0)
    current->refuse("cp.async from an address that 16 does not divide");
  emulator::Thread& self = current->self();
  self.copies.push_back({current->at(to, "cp.async"), from, bytes, self.groups});
  std::memset(self.copies.back().to, 0xFF, kBytes);
}

void commit_copies() {
  ++current->self().groups;
}

void wait_for_copies(int32 groups) {
  emulator::Thread& self = current->self();
  const auto still = [&](const emulator::Copy& copy) {
    return copy.group + static_cast<uint32>(groups) >= self.groups;
  };
  for (const emulator::Copy& copy : self.copies) {
    if (still(copy)) continue;
    std::memset(copy.to, 0, 16);
    if (copy.bytes > 0) std::memcpy(copy.to, copy.from, static_cast<std::size_t>(copy.bytes));
  }
  std::erase_if(self.copies, [&](const emulator::Copy& copy) { return !still(copy); });
}

}  // namespace tilewise::cuda::emulated
