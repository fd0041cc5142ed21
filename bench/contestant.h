// Who takes turns in a case: a backend of ours, or a peer.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bench/peer.h"
#include "cli/core/workload.h"

namespace tilewise::cli {

class Contestant {
 public:
  explicit Contestant(std::string name) : name_(std::move(name)) {}
  Contestant(const Contestant&) = delete;
  Contestant& operator=(const Contestant&) = delete;
  virtual ~Contestant() = default;

  // Spends a part of the budget, unless all of it is spent. The run that made everything ready
  // counts only when it alone took more.
  void take_turn(double budget, int turns);

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] bool has_samples() const { return refusal_.empty() && !samples_.empty(); }
  [[nodiscard]] Timing timing() const { return summarize(samples_); }
  // Why it takes no part; empty: it does.
  [[nodiscard]] const std::string& refusal() const { return refusal_; }
  [[nodiscard]] double workspace_bytes() const { return workspace_bytes_; }

 protected:
  virtual std::vector<double> run(double budget) = 0;

  // How long the run took that made everything ready.
  void is_ready_after(double first) { first_ = first; }
  void needs(double workspace_bytes) { workspace_bytes_ = workspace_bytes; }
  void refuse(const std::string& why) { refusal_ = why; }

 private:
  std::string name_, refusal_;
  double first_ = 0, workspace_bytes_ = 0;
  std::vector<double> samples_;
  double spent_ = 0;
};

// Makes it ready, with one run, on the device and with the threads of `where`. A backend that
// declines is a row of the table, not the end of the benchmark.
[[nodiscard]] std::unique_ptr<Contestant> our_contestant(const std::string& backend,
                                                         tw_operation operation, Workload& work,
                                                         const tw_execution& where);
// A peer that fails is lost to the cases that follow, too.
[[nodiscard]] std::unique_ptr<Contestant> their_contestant(NamedPeer& peer, const PeerCase& wanted);

}  // namespace tilewise::cli
