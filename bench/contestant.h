// A contestant in a case of the benchmark, one of our backends or a peer. Contestants take turns.
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

  // Times runs for one of `turns` parts of the budget, unless the budget is spent. If the run that
  // made everything ready took longer than the whole budget, that run is the only sample.
  void take_turn(double budget, int turns);

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] bool has_samples() const { return refusal_.empty() && !samples_.empty(); }
  [[nodiscard]] Timing timing() const { return summarize(samples_); }
  // Why the contestant takes no part; empty if it does.
  [[nodiscard]] const std::string& refusal() const { return refusal_; }
  [[nodiscard]] double workspace_bytes() const { return workspace_bytes_; }

 protected:
  virtual std::vector<double> run(double budget) = 0;

  // Sets the seconds of the run that made everything ready.
  void is_ready_after(double first) { first_ = first; }
  void needs(double workspace_bytes) { workspace_bytes_ = workspace_bytes; }
  void refuse(const std::string& why) { refusal_ = why; }

 private:
  std::string name_, refusal_;
  double first_ = 0, workspace_bytes_ = 0;
  std::vector<double> samples_;
  double spent_ = 0;
};

// Tilewise as a contestant, made ready by one run on the device and with the threads of `where`. If
// the backend declines, refusal() says why, and the benchmark goes on.
[[nodiscard]] std::unique_ptr<Contestant> our_contestant(const std::string& backend,
                                                         tw_operation operation, Workload& work,
                                                         const tw_execution& where);
// A peer as a contestant. A peer that fails takes no part in later cases either.
[[nodiscard]] std::unique_ptr<Contestant> their_contestant(NamedPeer& peer, const PeerCase& wanted);

}  // namespace tilewise::cli
