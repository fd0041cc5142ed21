#include "bench/peer.h"

namespace tilewise::cli {
namespace {

// The peer that find() returns, which may not be ready yet, or why it is absent.
template <class Find>
NamedPeer found(const std::string& name, const Find& find) {
  NamedPeer named{name, "", "", nullptr};
  try {
    named.peer = find();
  } catch (const PeerLost& lost) {
    named.lose(lost.what());
  }
  return named;
}

}  // namespace

std::optional<PeerCase> peer_case(const Case& shape, tw_operation operation) {
  const Sizes& sizes = shape.sizes;
  const Extras& extras = shape.extras;
  const bool has_features = shape.scores.softcap != 0 || !extras.bias.empty() ||
                            extras.has_slopes || extras.has_sinks || shape.dropout.probability != 0;
  if (has_features || sizes.is_packed() || sizes.queries == 0 || sizes.keys == 0) {
    return std::nullopt;
  }
  const double all = static_cast<double>(sizes.batch * sizes.heads) *
                     static_cast<double>(sizes.queries) * static_cast<double>(sizes.keys);
  if (visible_pairs(shape) == all) return PeerCase{&shape, operation, false};
  // Peers align a causal mask top-left or bottom-right; with as many queries as keys the two
  // are the same.
  const Mask& mask = shape.mask;
  const bool is_plain = is_causal(mask) && mask.chunk == 0 && mask.shift == 0;
  if (!is_plain || sizes.queries != sizes.keys) return std::nullopt;
  return PeerCase{&shape, operation, true};
}

void NamedPeer::meet() {
  if (!peer) return;
  try {
    peer->meet();
    version = peer->version();
  } catch (const PeerLost& lost) {
    lose(lost.what());
  }
}

void NamedPeer::lose(const std::string& why) {
  peer.reset();
  absent = why;
}

std::vector<NamedPeer> find_peers(int threads, const Device& device) {
  using Names = std::vector<std::string>;
  std::vector<NamedPeer> peers;
  for (const std::string& name :
       device.is_gpu() ? Names{"torch-flash", "torch-cudnn", "torch-efficient", "torch-math"}
                       : Names{"torch", "onnxruntime"}) {
    peers.push_back(found(name, [&] { return start_python_peer(name, threads, device); }));
  }
  if (!device.is_gpu())
    peers.push_back(found("openblas", [&] { return open_openblas_peer(threads); }));
  for (NamedPeer& peer : peers) peer.meet();
  return peers;
}

}  // namespace tilewise::cli
