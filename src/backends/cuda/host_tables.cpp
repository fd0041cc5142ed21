#include "backends/cuda/host_tables.h"

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace tilewise::cuda {
namespace {

constexpr int64 kWord = sizeof(core::uint64);

// Calls visit(view) for each table that a call may have.
template <class Side, class Visit>
void visit_side(Side& side, const Visit& visit) {
  for (auto* table : {&side.offsets, &side.used, &side.start, &side.batch_index, &side.page_table})
    visit(*table);
}

template <class Call, class Visit>
void visit_tables(Call& call, const Visit& visit) {
  using Kind = std::remove_const_t<Call>;
  if constexpr (std::is_same_v<Kind, Problem>) {
    visit_side(call.queries, visit);
    visit_side(call.keys, visit);
  } else if constexpr (std::is_same_v<Kind, RotaryProblem>) {
    visit_side(call.side, visit);
    visit(call.positions);
  } else {
    static_assert(std::is_same_v<Kind, AppendProblem>);
    visit_side(call.fresh, visit);
    visit_side(call.cache, visit);
    visit(call.lengths);
    visit_tables(call.queries, visit);
  }
}

// Visits a call's own tables. A merge has none.
template <class Visit>
void visit_tables_of(const Asked& asked, const Visit& visit) {
  std::visit(
      Cases{[&](const auto* call) { visit_tables(*call, visit); }, [](const MergeProblem*) {}},
      asked);
}

bool lies_on_host(const View& table) {
  return table && !table.on_device;
}

int64 count_of(const View& table) {
  return table.size.batch * table.size.column;
}

// Each table begins at a word of its own.
int64 words_of(const View& table) {
  return core::ceil_div(count_of(table) * core::bytes_of(table.dtype), kWord);
}

// Copies words `begin` to `end - 1` of a table with any strides.
void copy_words(const View& table, int64 begin, int64 end, core::uint64* to) {
  const int64 bytes = core::bytes_of(table.dtype), in_word = kWord / bytes;
  const int64 last = core::smaller(end * in_word, count_of(table));
  to[end - begin - 1] = 0;  // the table may fill only half of the last word
  auto* at = reinterpret_cast<std::byte*>(to);
  for (int64 n = begin * in_word; n < last; ++n, at += bytes) {
    const int64 b = n / table.size.column, column = n % table.size.column;
    std::memcpy(at, table.at(table.offset(b, 0, 0, column)), static_cast<std::size_t>(bytes));
  }
}

core::uint64* aligned_words(std::byte* workspace) {
  const auto address = reinterpret_cast<std::uintptr_t>(workspace);
  return reinterpret_cast<core::uint64*>((address + kWord - 1) / kWord * kWord);
}

}  // namespace

int64 host_table_bytes(const Asked& asked) {
  int64 words = 0;
  visit_tables_of(asked, [&](const View& table) {
    if (lies_on_host(table)) words += words_of(table);
  });
  return words == 0 ? 0 : (words + 1) * kWord;  // one more to align the workspace
}

HostTables::HostTables(const Asked& asked, std::byte* workspace)
    : asked_(asked), to_(workspace ? aligned_words(workspace) : nullptr) {
  const auto move = [&](auto call) {
    visit_tables(call, [&](View& table) {
      if (!lies_on_host(table)) return;
      const int64 words = words_of(table);
      table.data = reinterpret_cast<std::byte*>(to_ ? to_ + words_ : nullptr);
      table.stride = {table.size.column, 0, 0, 1};
      table.on_device = true;
      words_ += words;
    });
    moved_ = call;
  };
  std::visit(Cases{[&](const auto* call) { move(*call); }, [](const MergeProblem*) {}}, asked);
  if (to_) rest_ = reinterpret_cast<std::byte*>(to_ + words_);
}

// Takes the words from `begin` on, counted over all tables side by side.
bool HostTables::next_piece(int64 begin, Tables& piece) const {
  if (!to_) {
    piece.to = nullptr;
    piece.count = 0;
    return begin == 0;
  }
  if (begin >= words_) return false;
  const int64 end = core::smaller(begin + kTableWords, words_);
  piece.to = to_ + begin;
  piece.count = end - begin;
  int64 first = 0;  // index of the current table's first word
  visit_tables_of(asked_, [&](const View& table) {
    if (!lies_on_host(table)) return;
    const int64 words = words_of(table);
    const int64 from = core::larger(begin, first), to = core::smaller(end, first + words);
    if (from < to) copy_words(table, from - first, to - first, piece.words + (from - begin));
    first += words;
  });
  return true;
}

Asked HostTables::moved() const {
  return std::visit([](const auto& call) { return Asked(&call); }, moved_);
}

}  // namespace tilewise::cuda
