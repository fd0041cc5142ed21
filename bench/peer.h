// Peers: other implementations of attention on this machine, timed in turns with ours.
#pragma once

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "cli/core/cases.h"
#include "cli/core/device.h"
#include "tilewise/tilewise.h"

namespace tilewise::cli {

// A case that all peers can run: a dense batch, causal or without a mask.
struct PeerCase {
  const Case* shape;
  tw_operation operation;
  bool is_causal;
};
// The case for peers; nullopt if it has features that they do not share.
[[nodiscard]] std::optional<PeerCase> peer_case(const Case& shape, tw_operation operation);

// Thrown when a peer is not installed, or hung, died or failed; the sentence says which.
class PeerLost : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Peer {
 public:
  Peer() = default;
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  virtual ~Peer() = default;

  // Waits until the peer is ready, while others get ready too. Throws PeerLost if it is not
  // installed.
  virtual void meet() {}
  [[nodiscard]] virtual std::string version() const = 0;
  // Makes a case ready. Returns the seconds of one run, or nullopt if the peer does not do the
  // case.
  [[nodiscard]] virtual std::optional<double> prepare(const PeerCase& wanted) = 0;
  // Seconds of each run: as many as fit into the budget, at least one.
  [[nodiscard]] virtual std::vector<double> run(double budget) = 0;
};

// A peer by name, or why it is absent. It may be lost later.
struct NamedPeer {
  std::string name, version, absent;
  std::unique_ptr<Peer> peer;

  [[nodiscard]] bool is_there() const { return peer != nullptr; }
  void meet();
  void lose(const std::string& why);
};

// Starts all peers at once and waits for the slowest to load. On a GPU the peers are the backends
// of torch's scaled_dot_product_attention, each by itself.
[[nodiscard]] std::vector<NamedPeer> find_peers(int threads, const Device& device);

// Starts a peer in Python: TILEWISE_PYTHON, or else python3. Throws PeerLost if that cannot start.
[[nodiscard]] std::unique_ptr<Peer> start_python_peer(const std::string& name, int threads,
                                                      const Device& device);
// matmul, softmax, matmul by OpenBLAS: the library that TILEWISE_OPENBLAS names, or the system's.
[[nodiscard]] std::unique_ptr<Peer> open_openblas_peer(int threads);

}  // namespace tilewise::cli
