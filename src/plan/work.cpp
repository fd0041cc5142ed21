#include "plan/work.h"

#include <unistd.h>

#include <algorithm>

#include "host/masks.h"

namespace tilewise {
namespace {

// The sum of term(0) .. term(count - 1). Of very many terms it adds up evenly spread ones and
// scales the sum, so that explain answers at once for any shape.
template <class Term>
double sum_over(int64 count, Term term) {
  constexpr int64 kMostTerms = 1 << 17;
  const int64 step = core::ceil_div(count, kMostTerms);
  int64 taken = 0;
  double sum = 0;
  for (int64 n = 0; n < count; n += step, ++taken) sum += static_cast<double>(term(n));
  return taken > 0 ? sum * static_cast<double>(count) / static_cast<double>(taken) : 0;
}

// Whether every sequence counts as long as the longest: all are, or lengths cannot be read.
bool counts_as_longest(const Side& side) {
  return side.uniform() || !has_lengths(side);
}

int64 length_of(const Side& side, int64 b) {
  return counts_as_longest(side) ? side.longest : place_of(side, b).length;
}

// Visible pairs of one head, without those of absent blocks.
double visible_pairs(const Problem& p, const core::Band& band, const core::BlockMask& blocks) {
  return sum_over(band.queries, [&](int64 i) {
    const core::Range seen = band.visible_keys(i);
    if (!blocks.present) return seen.size();
    int64 sum = 0;
    for (int64 j = seen.begin; j < seen.end;) {
      const int64 end = std::min(seen.end, (j / p.mask.block_key + 1) * p.mask.block_key);
      if (blocks.visible(i, j)) sum += end - j;
      j = end;
    }
    return sum;
  });
}

// Rows of keys that one head's tiles of queries read, a row once for each tile that sees it.
double reread_keys(const core::Band& band, int64 tile) {
  return sum_over(core::ceil_div(band.queries, tile), [&](int64 t) {
    return band.keys_of({t * tile, std::min((t + 1) * tile, band.queries)}).size();
  });
}

double reread_queries(const core::Band& band, int64 tile) {
  return sum_over(core::ceil_div(band.keys, tile), [&](int64 t) {
    return band.queries_of({t * tile, std::min((t + 1) * tile, band.keys)}).size();
  });
}

// Floating-point operations for one visible pair, two for each element of its products.
double flops_per_pair(const Problem& p) {
  const auto dim = static_cast<double>(p.shape.dim);
  const auto value_dim = static_cast<double>(p.shape.value_dim);
  if (p.operation == TW_BACKWARD) return 2 * (3 * dim + 2 * value_dim);
  return 2 * (dim + (p.operation == TW_FORWARD ? value_dim : 0));
}

// Adds the work of one sequence.
void add_sequence(const Problem& p, int64 b, const Tile& tile, Work& work) {
  const auto element = static_cast<double>(core::bytes_of(p.query.dtype));
  const auto dims = static_cast<double>(p.shape.dim + p.shape.value_dim);
  const auto heads = static_cast<double>(p.shape.heads);
  const core::Band band = p.mask.band(length_of(p.queries, b), length_of(p.keys, b));
  const auto queries = static_cast<double>(band.queries), keys = static_cast<double>(band.keys);
  const bool by_head = p.mask.blocks && readable(p.mask.blocks) && p.mask.blocks.stride.head != 0;
  const double visible = sum_over(by_head ? p.shape.heads : 1, [&](int64 h) {
    return visible_pairs(p, band, blocks_of(p, b, h));
  });
  double rows = queries + reread_keys(band, tile.rows);
  if (p.operation == TW_BACKWARD)
    rows += 3 * queries + 2 * keys + reread_queries(band, tile.columns);
  work.pairs += heads * queries * keys;
  work.visible += (by_head ? 1 : heads) * visible;
  work.tiled_bytes += heads * rows * dims * element;
  work.model_bytes +=
      heads * queries * keys * dims * dims / 4 * element * element / work.fast_bytes;
  work.standard_bytes += heads * ((queries + keys) * dims + queries * keys) * element;
}

}  // namespace

double second_cache_bytes(const Machine&) {
  const long bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
  return bytes > 0 ? static_cast<double>(bytes) : 512.0 * 1024;
}

Work work_of(const Problem& p, const Tile& tile, double fast_bytes) {
  Work work;
  work.fast_bytes = fast_bytes;
  const bool blocks = p.mask.blocks && readable(p.mask.blocks) && p.mask.blocks.stride.batch != 0;
  const bool alike = counts_as_longest(p.queries) && counts_as_longest(p.keys) && !blocks;
  for (int64 b = 0; b < (alike ? std::min<int64>(1, p.shape.batch) : p.shape.batch); ++b)
    add_sequence(p, b, tile, work);
  if (alike) {
    const auto batch = static_cast<double>(p.shape.batch);
    for (double* sum :
         {&work.pairs, &work.visible, &work.tiled_bytes, &work.model_bytes, &work.standard_bytes})
      *sum *= batch;
  }
  work.flops = work.visible * flops_per_pair(p);
  return work;
}

}  // namespace tilewise
