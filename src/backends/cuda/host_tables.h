// Tables of a call that are on the host: offsets, lengths, starts, positions, indices and pages.
// They have been checked on the host. The kernel of plain/tables.h receives them in its arguments
// and copies them to the workspace, where the call's other kernels read them.
#pragma once

#include <cstddef>
#include <variant>

#include "backends/cuda/kernels/plain/tables.h"
#include "plan/backend.h"
#include "problem/structs.h"

namespace tilewise::cuda {

// Bytes that the tables take in the workspace; 0 if none is on the host.
int64 host_table_bytes(const Asked& asked);

class HostTables {
 public:
  // `asked` must have tables on the host. It and `workspace` must outlive this. If `workspace` is
  // null, the tables' memory is not read, and need not exist.
  HostTables(const Asked& asked, std::byte* workspace);

  // Calls send(Tables) for one piece after another, and returns the first failure. If `workspace`
  // is null, calls it once, with an empty piece.
  template <class Send>
  Status send(const Send& send) const {
    Tables piece;
    for (int64 begin = 0; next_piece(begin, piece); begin += kTableWords) TW_TRY(send(piece));
    return {};
  }

  // The constructor's call, with all tables in the workspace; and the rest of the workspace.
  Asked moved() const;
  std::byte* rest() const { return rest_; }

 private:
  bool next_piece(int64 begin, Tables& piece) const;

  const Asked& asked_;
  core::uint64* to_ = nullptr;
  int64 words_ = 0;
  std::byte* rest_ = nullptr;
  std::variant<Problem, RotaryProblem, AppendProblem> moved_;
};

// Calls run(asked, workspace) for a call whose tables are on the device: the caller's own call, or
// the one that HostTables makes of it after send(Tables) has copied the tables.
template <class Send, class Run>
Status with_tables_there(const Asked& asked, std::byte* workspace, const Send& send,
                         const Run& run) {
  if (host_table_bytes(asked) == 0) return run(asked, workspace);
  const HostTables tables(asked, workspace);
  TW_TRY(tables.send(send));
  return run(tables.moved(), tables.rest());
}

}  // namespace tilewise::cuda
