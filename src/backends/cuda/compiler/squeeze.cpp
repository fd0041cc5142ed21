#include "backends/cuda/compiler/squeeze.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace tilewise::cuda {
namespace {

// The format is a list of steps: a count of literal bytes; those bytes; the length of a repetition;
// its distance back. The last step has literal bytes alone. Numbers have seven bits per byte, low
// bits first; the eighth bit is set if more bytes follow.
constexpr std::size_t kShortest = 4;  // a shorter repetition takes as many bytes as it saves
constexpr int kTries = 64;            // candidates examined for the longest repetition
constexpr std::size_t kHeads = 1U << 16;

void put_number(std::size_t number, std::vector<std::byte>& out) {
  for (; number >= 128; number >>= 7) out.push_back(static_cast<std::byte>(number | 128));
  out.push_back(static_cast<std::byte>(number));
}

bool take_number(std::span<const std::byte>& from, std::size_t& number) {
  number = 0;
  for (int shift = 0; shift < 35 && !from.empty(); shift += 7) {
    const auto byte = static_cast<std::size_t>(from.front());
    from = from.subspan(1);
    number |= (byte & 127) << shift;
    if (byte < 128) return true;
  }
  return false;
}

struct Repetition {
  std::size_t bytes = 0, back = 0;
};

// The positions of each sequence of four bytes, latest first.
class Places {
 public:
  explicit Places(std::span<const std::byte> plain)
      : plain_(plain), heads_(kHeads, kNone), before_(plain.size(), kNone) {}

  // The longest repetition among the candidates: first at the previous distance, where two nearly
  // equal kernels continue to match, then the latest positions.
  Repetition longest(std::size_t at, std::size_t last_back) const {
    Repetition best;
    if (last_back != 0) best = of_place(at, at - last_back);
    std::uint32_t place = at + kShortest <= plain_.size() ? heads_[head(at)] : kNone;
    for (int tries = 0; place != kNone && tries < kTries; ++tries, place = before_[place]) {
      const Repetition found = of_place(at, place);
      if (found.bytes > best.bytes) best = found;
    }
    return best.bytes >= kShortest ? best : Repetition{};
  }

  void add(std::size_t at) {
    if (at + kShortest > plain_.size()) return;
    std::uint32_t& latest = heads_[head(at)];
    before_[at] = latest;
    latest = static_cast<std::uint32_t>(at);
  }

 private:
  static constexpr std::uint32_t kNone = 0xffffffff;

  Repetition of_place(std::size_t at, std::size_t place) const {
    const auto end = std::mismatch(plain_.begin() + static_cast<std::ptrdiff_t>(at), plain_.end(),
                                   plain_.begin() + static_cast<std::ptrdiff_t>(place));
    return {static_cast<std::size_t>(end.first - plain_.begin()) - at, at - place};
  }

  std::size_t head(std::size_t at) const {
    std::uint32_t word = 0;
    std::memcpy(&word, plain_.data() + at, sizeof word);
    return (word * 2654435761U) >> 16;
  }

  std::span<const std::byte> plain_;
  std::vector<std::uint32_t> heads_, before_;
};

}  // namespace

std::vector<std::byte> squeeze(std::span<const std::byte> plain, std::span<const std::byte> known) {
  std::vector<std::byte> both(known.begin(), known.end());
  both.insert(both.end(), plain.begin(), plain.end());
  const std::span<const std::byte> all(both);
  std::vector<std::byte> out;
  Places places(all);
  std::size_t at = 0;
  while (at < known.size()) places.add(at++);
  std::size_t given = at, last_back = known.size();  // everything before `given` is encoded
  while (at < all.size()) {
    const Repetition found = places.longest(at, last_back);
    if (found.bytes == 0) {
      places.add(at++);
      continue;
    }
    const auto literal = all.subspan(given, at - given);
    put_number(literal.size(), out);
    out.insert(out.end(), literal.begin(), literal.end());
    put_number(found.bytes, out);
    put_number(found.back, out);
    for (const std::size_t end = at + found.bytes; at < end; ++at) places.add(at);
    given = at, last_back = found.back;
  }
  const auto rest = all.subspan(given);
  put_number(rest.size(), out);
  out.insert(out.end(), rest.begin(), rest.end());
  return out;
}

bool expand(std::span<const std::byte> squeezed, std::size_t bytes,
            std::span<const std::byte> known, std::vector<std::byte>& out) {
  const auto begin = static_cast<std::ptrdiff_t>(known.size());
  out.assign(known.begin(), known.end());
  const std::size_t end = known.size() + bytes;
  if (end < bytes) return false;
  out.reserve(known.size() + std::min(bytes, squeezed.size() * 8));
  for (;;) {
    std::size_t literal = 0, repeated = 0, back = 0;
    if (!take_number(squeezed, literal) || literal > squeezed.size()) return false;
    if (literal > end - out.size()) return false;
    out.insert(out.end(), squeezed.begin(),
               squeezed.begin() + static_cast<std::ptrdiff_t>(literal));
    squeezed = squeezed.subspan(literal);
    if (squeezed.empty()) break;
    if (!take_number(squeezed, repeated) || !take_number(squeezed, back)) return false;
    if (back == 0 || back > out.size() || repeated > end - out.size()) return false;
    // Byte by byte, because a repetition may overlap with itself.
    for (std::size_t i = 0; i < repeated; ++i) out.push_back(out[out.size() - back]);
  }
  if (out.size() != end) return false;
  out.erase(out.begin(), out.begin() + begin);
  return true;
}

}  // namespace tilewise::cuda
