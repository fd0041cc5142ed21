#include "plan/work.h"

#include <unistd.h>

#include <algorithm>

namespace tilewise {
namespace {

// Lengths of sequence b, where they can be read; the longest, where the caller has only shapes so
// far.
int64 length_of(const Side& side, int64 b) {
  const auto unread = [](const View& view) { return view && !view.data; };
  for (const View& view : {side.offsets, side.used, side.start, side.batch_index})
    if (unread(view)) return side.longest;
  return side.place(b).length;
}

// Visible pairs of one head: exact for the band. Absent blocks are taken off tile by tile, where
// they can be read.
double visible_pairs(const Problem& p, const core::Band& band, const core::BlockMask& blocks) {
  if (!blocks.present) return static_cast<double>(band.pairs());
  double sum = 0;
  for (int64 i = 0; i < band.queries; ++i) {
    const core::Range seen = band.visible_keys(i);
    for (int64 j = seen.begin; j < seen.end;) {
      const int64 end = std::min(seen.end, (j / p.mask.block_key + 1) * p.mask.block_key);
      if (blocks.visible(i, j)) sum += static_cast<double>(end - j);
      j = end;
    }
  }
  return sum;
}

// Rows of the other side that tiles of one side read again, over all tiles of one head.
double reread_keys(const core::Band& band, int64 tile) {
  double sum = 0;
  for (int64 i = 0; i < band.queries; i += tile)
    sum += static_cast<double>(band.keys_of({i, std::min(i + tile, band.queries)}).size());
  return sum;
}

double reread_queries(const core::Band& band, int64 tile) {
  double sum = 0;
  for (int64 j = 0; j < band.keys; j += tile)
    sum += static_cast<double>(band.queries_of({j, std::min(j + tile, band.keys)}).size());
  return sum;
}

double fast_memory() {
  const long bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
  return bytes > 0 ? static_cast<double>(bytes) : 512.0 * 1024;
}

// Products of one visible pair, as multiples of (dim, value dim), two operations an element.
double flops_per_pair(const Problem& p) {
  const auto dim = static_cast<double>(p.shape.dim);
  const auto value_dim = static_cast<double>(p.shape.value_dim);
  if (p.operation == TW_BACKWARD) return 2 * (3 * dim + 2 * value_dim);
  return 2 * (dim + (p.operation == TW_FORWARD ? value_dim : 0));
}

}  // namespace

Work work_of(const Problem& p, const Tile& tile) {
  Work work;
  work.fast_bytes = fast_memory();
  const auto element = static_cast<double>(core::bytes_of(p.query.dtype));
  const auto dims = static_cast<double>(p.shape.dim + p.shape.value_dim);
  const auto heads = static_cast<double>(p.shape.heads);
  const bool by_head = p.mask.blocks && p.mask.blocks.data;
  for (int64 b = 0; b < p.shape.batch; ++b) {
    const core::Band band = p.mask.band(length_of(p.queries, b), length_of(p.keys, b));
    const auto queries = static_cast<double>(band.queries), keys = static_cast<double>(band.keys);
    work.pairs += heads * queries * keys;
    for (int64 h = 0; h < (by_head ? p.shape.heads : 1); ++h)
      work.visible += (by_head ? 1 : heads) *
                      visible_pairs(p, band, by_head ? p.blocks(b, h) : core::BlockMask{});
    double rows = queries + reread_keys(band, tile.rows);
    if (p.operation == TW_BACKWARD)
      rows += 3 * queries + 2 * keys + reread_queries(band, tile.columns);
    work.tiled_bytes += heads * rows * dims * element;
    work.model_bytes +=
        heads * queries * keys * dims * dims / 4 * element * element / work.fast_bytes;
    work.standard_bytes += heads * ((queries + keys) * dims + queries * keys) * element;
  }
  work.flops = work.visible * flops_per_pair(p);
  return work;
}

}  // namespace tilewise
