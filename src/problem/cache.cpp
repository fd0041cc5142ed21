#include "problem/cache.h"

namespace tilewise {
namespace {

constexpr Form kTableForm{"cache.page_table", kPageTable, Types::kIndex};
constexpr Form kIndexForm{"cache.batch_index", kBatch, Types::kIndex};

int64 entry_at(const Side& side, int64 b, int64 column) {
  const View& view = side.paged() ? side.page_table : side.batch_index;
  return index_at(view, view.offset(b, 0, 0, column));
}

// The columns of the page table that sequence b touches; a batch index has one column.
core::Range columns_of(const Touched& touched, int64 b) {
  const core::Range rows = touched.rows(b);
  if (rows.empty()) return {0, 0};
  if (!touched.side.paged()) return {0, 1};
  return {rows.begin / touched.side.page_size, (rows.end - 1) / touched.side.page_size + 1};
}

// A bit map of the pages met so far, for a range of 65536 pages. A check allocates nothing, so it
// goes over the page tables once for each such range of pages.
class Window {
 public:
  explicit Window(int64 begin) : begin_(begin) {}

  // Whether the page was met before. Pages above the range are left to a later window.
  bool meet(int64 page) {
    if (page < begin_) return false;
    if (page >= begin_ + kPages) {
      next_ = core::smaller(next_, page);
      return false;
    }
    core::uint64& word = seen_[(page - begin_) / 64];
    const core::uint64 bit = core::uint64{1} << ((page - begin_) % 64);
    const bool met = (word & bit) != 0;
    word |= bit;
    return met;
  }

  int64 next() const { return next_; }

 private:
  static constexpr int64 kPages = 65536;
  int64 begin_, next_ = core::kUnlimited;
  core::uint64 seen_[kPages / 64] = {};
};

}  // namespace

Status read_cache(Call& call, const tw_cache* cache, Side& side) {
  Given<tw_cache> given;
  TW_TRY(given.read(cache, "cache", "tw_cache"));
  TW_TRY(call.input(given->page_table, kTableForm, side.page_table));
  TW_TRY(call.input(given->batch_index, kIndexForm, side.batch_index));
  if (side.paged() && side.batch_index) {
    return invalid(
        "cache has a page_table and a batch_index: keys lie either in pages or in rows, "
        "so leave one of them absent.");
  }
  if (side.packed() && (side.paged() || side.batch_index)) {
    return invalid(
        "cache and keys.offsets are both given: cached keys are not packed, so say "
        "their lengths by keys.used.");
  }
  return {};
}

Status size_cache(const View& tensor, const char* name, Side& side, int64& batch) {
  side.rows = tensor.size.row;
  batch = side.batch_index ? side.batch_index.size.batch : batch_of(side, tensor);
  if (!side.paged()) return {};
  batch = side.page_table.size.batch;
  side.page_size = tensor.size.row;
  if (side.page_size == 0) return invalid("%s has pages of 0 rows: at least 1 is needed.", name);
  if (side.page_table.size.column >= kFarthest / side.page_size) {
    return invalid(
        "cache.page_table has %lld columns of %lld rows: it must reach less than 2^40 "
        "rows.",
        side.page_table.size.column, side.page_size);
  }
  side.rows = side.page_table.size.column * side.page_size;
  return {};
}

Status check_entries(const Touched& touched) {
  const bool paged = touched.side.paged();
  for (int64 b = 0; b < touched.batch; ++b) {
    const core::Range columns = paged ? columns_of(touched, b) : core::Range{0, 1};
    for (int64 column = columns.begin; column < columns.end; ++column) {
      const int64 entry = entry_at(touched.side, b, column);
      if (0 <= entry && entry < touched.pages) continue;
      if (!paged) {
        return invalid(
            "cache.batch_index[%lld] is %lld but there are %lld rows: it must name one "
            "of them.",
            b, entry, touched.pages);
      }
      return invalid(
          "cache.page_table[%lld, %lld] is %lld but there are %lld pages: each entry "
          "that the length of its sequence reaches must name one of them.",
          b, column, entry, touched.pages);
    }
  }
  return {};
}

Status check_unshared(const Touched& touched, const char* wanted_for) {
  for (int64 begin = 0; begin < core::kUnlimited;) {
    Window window(begin);
    for (int64 b = 0; b < touched.batch; ++b) {
      const core::Range columns = columns_of(touched, b);
      for (int64 column = columns.begin; column < columns.end; ++column) {
        const int64 entry = entry_at(touched.side, b, column);
        if (!window.meet(entry)) continue;
        return invalid("cache.%s names %s %lld a second time for sequence %lld: %s.",
                       touched.side.paged() ? "page_table" : "batch_index",
                       touched.side.paged() ? "page" : "row", entry, b, wanted_for);
      }
    }
    begin = window.next();
  }
  return {};
}

}  // namespace tilewise
