#include "plan/workers.h"

#include <algorithm>

#include "plan/settings.h"

namespace tilewise {
namespace {

// A call gets a worker for each kLeastWork floating-point operations, and a second one only from
// kTimesWorthHelp times that on. Measured on two cores of an AMD EPYC (Milan, virtual), float32
// heads 64 wide: a million operations take one core 20 to 30 us, and 40 to 60 in decoding. Calls
// back to back gain from a second worker once they take 20 to 30 us alone (1.1 to 1.3 times; 1.3 to
// 1.9 at 60 us). After a pause of a millisecond a worker must be woken, which costs the caller 5 to
// 10 us and pays only beyond 250 us. A second worker therefore starts at two million operations:
// back to back it gains several times what it may lose after a pause. More workers cost little
// more: 3.7 million operations took sixteen cores of a Xeon 32 us with three workers and 25 with
// seven.
constexpr double kLeastWork = 5e5, kTimesWorthHelp = 4;

// To read an element of a row, lay it out for the kernels or write it back takes as long as this
// many operations of a product, and longer from memory. Decoding does little else.
constexpr double kOperationsAnElement = 16;

double least_work() {
  const double asked = settings().least_work;
  return asked >= 0 ? asked : kLeastWork;
}

// Roughly the keys that a query sees, as an average. A limit on the right hides half of a triangle;
// chunks and a window bound the number.
double keys_seen(const Problem& p) {
  const auto queries = static_cast<double>(p.shape.queries);
  auto seen = static_cast<double>(p.shape.keys);
  if (p.mask.right < core::kUnlimited) seen -= std::min(queries, seen) / 2;
  if (p.mask.chunk > 0) seen = std::min(seen, static_cast<double>(p.mask.chunk));
  if (p.mask.left < core::kUnlimited && p.mask.right < core::kUnlimited)
    seen = std::min(seen, std::max(1.0, static_cast<double>(p.mask.left + p.mask.right + 1)));
  return seen;
}

// Operations of the products, plus the cost of moving rows, counted as operations.
double work_of_shapes(const Problem& p) {
  const Shape& s = p.shape;
  const auto batch = static_cast<double>(s.batch), heads = static_cast<double>(s.heads);
  const auto queries = static_cast<double>(s.queries),
             dims = static_cast<double>(s.dim + s.value_dim);
  const double keys = keys_seen(p);
  // A key head's keys are loaded once for all queries and heads that share them. If one query sees
  // `keys` keys, all queries together see about keys + queries different ones.
  const double rows = heads * queries + static_cast<double>(s.key_heads) *
                                            std::min(static_cast<double>(s.keys), keys + queries);
  const double passes = p.operation == TW_BACKWARD ? 2.5 : 1;
  return passes * batch * dims * (2 * heads * queries * keys + kOperationsAnElement * rows);
}

}  // namespace

int workers_worth(const Problem& problem, int available) {
  if (available < 2) return 1;
  const double least = least_work(), work = work_of_shapes(problem);
  if (!(least > 0)) return available;
  if (work < least * kTimesWorthHelp) return 1;
  return static_cast<int>(std::min(work / least, static_cast<double>(available)));
}

}  // namespace tilewise
