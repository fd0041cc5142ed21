// The measuring of `tilewise bench`: our runs and the peers' in turns, and the machine's limits. On
// the processor these are measured before and after each case and direction.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench/peak.h"
#include "bench/peer.h"
#include "bench/team.h"
#include "cli/core/device.h"
#include "cli/core/workload.h"

namespace tilewise::cli {

struct PeerTiming {
  std::string peer;
  Timing timing;
};

// The machine's limits for a case: on the processor the better of those measured before and after
// it, on a GPU computed.
struct Ceiling {
  Peak peak;
  std::optional<double> read_bandwidth;  // of a case limited by reading
};

struct Measurement {
  Case shape;
  tw_operation operation = TW_FORWARD;
  std::string backend;
  Timing timing;
  double operand_bytes = 0, workspace_bytes = 0;
  std::optional<std::string> refusal;  // why the backend declined; the rest is then empty
  Ceiling ceiling;
  std::vector<PeerTiming> peers;

  [[nodiscard]] double gflops() const;
  [[nodiscard]] double peak_share() const;
  // Bytes of operands a second, as if each were moved once; reported for forward alone.
  [[nodiscard]] double bandwidth() const;
  // Our rate divided by the peer's.
  [[nodiscard]] double ratio(const PeerTiming& peer) const;
};

struct BenchSettings {
  Device device;
  std::vector<std::string> backends;
  std::vector<tw_operation> directions;
  double seconds = 1;
  std::int32_t threads = 0;  // 0: all
  TensorLayout layout = TensorLayout::kHeads;
  bool has_peers = true;
};

// The number of threads to use, for the number asked for (0: all).
[[nodiscard]] int usable_threads(std::int32_t asked);

class Bench {
 public:
  explicit Bench(BenchSettings settings);
  ~Bench();
  // Measures each direction with each backend. Calls `begin` with what comes next.
  [[nodiscard]] std::vector<Measurement> measure(const Case& shape,
                                                 const std::function<void(std::string)>& begin);

  // The highest peak so far of each kind that this processor or GPU has.
  [[nodiscard]] const std::map<PeakKind, Peak>& peaks() const { return peaks_; }
  // Both are of the processor's memory; 0 if a GPU is measured.
  [[nodiscard]] double read_bandwidth() const { return read_; }
  [[nodiscard]] double triad_bandwidth() const { return triad_; }
  [[nodiscard]] const std::vector<NamedPeer>& peers() const { return peers_; }
  [[nodiscard]] int threads() const { return team_.size(); }
  [[nodiscard]] const Device& device() const { return settings_.device; }
  [[nodiscard]] TensorLayout layout() const { return settings_.layout; }

 private:
  std::vector<Measurement> measure_direction(const Case& shape, tw_operation operation);
  [[nodiscard]] Ceiling ceiling_of(const Case& shape, tw_operation operation);
  void measure_machine();
  Peak peak(PeakKind kind);
  double read();

  BenchSettings settings_;
  Team team_;
  std::unique_ptr<Stream> stream_;
  std::map<PeakKind, Peak> peaks_;
  double read_ = 0, triad_ = 0;
  std::vector<NamedPeer> peers_;
};

}  // namespace tilewise::cli
