// Tables of a call that lie on the host: offsets, lengths, starts, positions, indices and pages.
// They were checked there. Kernels that carry them among their arguments bring them into the
// workspace, and from then on the call is one whose tables lie on the device.
#pragma once

#include <cstddef>
#include <variant>

#include "backends/cuda/kernels/plain/tables.h"
#include "plan/backend.h"
#include "problem/structs.h"

namespace tilewise::cuda {

// Bytes of the workspace that the tables take; 0 where none lies on the host.
int64 host_table_bytes(const Asked& asked);

class HostTables {
 public:
  // `asked` has some and must outlive this, as `workspace` must. Without a workspace, tables may
  // have no memory either.
  HostTables(const Asked& asked, std::byte* workspace);

  // Calls send(Tables) for one piece after another, until one is refused; its answer. Without a
  // workspace for one piece, which holds nothing.
  template <class Send>
  Status send(const Send& send) const {
    Tables piece;
    for (int64 begin = 0; next_piece(begin, piece); begin += kTableWords) TW_TRY(send(piece));
    return {};
  }

  // The same call, of which all tables lie in the workspace; and what that has left.
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

// run(asked, workspace), of a call whose tables lie on the device: the caller's own, or what this
// makes of it. Before that send(Tables) brings them there.
template <class Send, class Run>
Status with_tables_there(const Asked& asked, std::byte* workspace, const Send& send,
                         const Run& run) {
  if (host_table_bytes(asked) == 0) return run(asked, workspace);
  const HostTables tables(asked, workspace);
  TW_TRY(tables.send(send));
  return run(tables.moved(), tables.rest());
}

}  // namespace tilewise::cuda
