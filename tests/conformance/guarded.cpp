#include "conformance/guarded.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <new>
#include <vector>

#include "conformance/device.h"

#if defined(__SANITIZE_ADDRESS__)
#define TW_HAS_RED_ZONES 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TW_HAS_RED_ZONES 1
#endif
#endif

namespace tilewise::conformance {
namespace {

constexpr unsigned char kSlack = 0xFF;  // all ones: a NaN in every float type

}  // namespace

bool Guarded::is_intact() const {
  return std::all_of(slack_, slack_ + slack_size_,
                     [](unsigned char each) { return each == kSlack; });
}

#if defined(TW_HAS_RED_ZONES)

// The address sanitizer guards heap memory by itself, to the byte and at both ends.
Guarded::Guarded(std::size_t bytes, Flush) : size_(bytes) {
  data_ = static_cast<unsigned char*>(::operator new(bytes));
  mapping_ = data_;
}

Guarded::~Guarded() {
  ::operator delete(mapping_);
}

#else

namespace {

// A thread's unused mappings by size, kept for reuse: new pages cost a fifth of a small case's
// time. A kept mapping allows no access.
class Kept {
 public:
  Kept() = default;
  Kept(const Kept&) = delete;
  Kept& operator=(const Kept&) = delete;
  ~Kept() {
    for (const auto& [bytes, mappings] : by_size_)
      for (void* each : mappings) munmap(each, bytes);
  }

  // A mapping without access, guard pages included.
  void* take(std::size_t bytes) {
    std::vector<void*>& mappings = by_size_[bytes];
    if (mappings.empty()) {
      void* made = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      return made == MAP_FAILED ? throw std::bad_alloc() : made;
    }
    void* taken = mappings.back();
    mappings.pop_back();
    bytes_ -= bytes;
    return taken;
  }

  void give(void* mapping, std::size_t bytes) {
    if (bytes_ + bytes > kMostBytes || mprotect(mapping, bytes, PROT_NONE) != 0) {
      munmap(mapping, bytes);
      return;
    }
    by_size_[bytes].push_back(mapping);
    bytes_ += bytes;
  }

 private:
  static constexpr std::size_t kMostBytes = 64 << 20;

  std::map<std::size_t, std::vector<void*> > by_size_;
  std::size_t bytes_ = 0;
};

thread_local Kept kept;

}  // namespace

Guarded::Guarded(std::size_t bytes, Flush flush) : size_(bytes) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t inner = (bytes + page - 1) / page * page;
  mapped_ = inner + 2 * page;
  void* all = kept.take(mapped_);
  unsigned char* begin = static_cast<unsigned char*>(all) + page;
  if (inner > 0 && mprotect(begin, inner, PROT_READ | PROT_WRITE) != 0) {
    munmap(all, mapped_);
    throw std::bad_alloc();
  }
  mapping_ = all;
  slack_size_ = inner - bytes;
  const bool is_first = flush == Flush::kBegin;
  data_ = is_first ? begin : begin + slack_size_;
  slack_ = is_first ? begin + bytes : begin;
  std::fill_n(slack_, slack_size_, kSlack);
  show(begin, inner);
}

Guarded::~Guarded() {
  if (mapping_ == nullptr) return;
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  if (mapped_ > 2 * page) hide(static_cast<unsigned char*>(mapping_) + page);
  kept.give(mapping_, mapped_);
}

#endif

}  // namespace tilewise::conformance
