// Other implementations of attention that this machine has, timed in turn with ours.
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

// What all peers can be asked: a dense batch in which every key is seen or none after the query.
struct PeerCase {
  const Case* shape;
  tw_operation operation;
  bool is_causal;
};
// nullopt for a case of features that peers do not share.
[[nodiscard]] std::optional<PeerCase> peer_case(const Case& shape, tw_operation operation);

// It hung, died or failed, and answers no more; the sentence says which.
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

  // Waits until it is ready, while others get ready too. PeerLost: it is not there after all.
  virtual void meet() {}
  [[nodiscard]] virtual std::string version() const = 0;
  // Makes a case ready: seconds of one run, or nullopt where the peer does not do this case.
  [[nodiscard]] virtual std::optional<double> prepare(const PeerCase& wanted) = 0;
  // Seconds of each run; as many runs as fit into the budget, and one at least.
  [[nodiscard]] virtual std::vector<double> run(double budget) = 0;
};

// A peer by name: there, or the sentence why not. A peer may be lost later.
struct NamedPeer {
  std::string name, version, absent;
  std::unique_ptr<Peer> peer;

  [[nodiscard]] bool is_there() const { return peer != nullptr; }
  void meet();
  void lose(const std::string& why);
};

// Looks for each of them; takes as long as the slowest takes to be imported. On a GPU they are
// torch's ways to compute attention there, each one by itself.
[[nodiscard]] std::vector<NamedPeer> find_peers(int threads, const Device& device);

// Throws PeerLost when it is not there. TILEWISE_PYTHON says through which Python.
[[nodiscard]] std::unique_ptr<Peer> start_python_peer(const std::string& name, int threads,
                                                      const Device& device);
// matmul, softmax, matmul over OpenBLAS, which TILEWISE_OPENBLAS names or else the system has.
[[nodiscard]] std::unique_ptr<Peer> open_openblas_peer(int threads);

}  // namespace tilewise::cli
