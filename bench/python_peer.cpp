// A peer in Python: talks with bench/peers.py by lines of JSON, which that file describes.
#include <fmt/core.h>

#include <cstdlib>

#include "bench/child.h"
#include "bench/embedded_peers.h"
#include "bench/peer.h"
#include "cli/core/json.h"
#include "cli/core/number.h"

namespace tilewise::cli {
namespace {

// Seconds to wait for an answer, enough for a large library on a cold disk.
constexpr double kPatience = 120;

double patience() {
  const char* given = std::getenv("TILEWISE_PEER_SECONDS");
  const auto seconds = parse_integer(given != nullptr ? given : "");
  return seconds && *seconds > 0 ? static_cast<double>(*seconds) : kPatience;
}

std::string python() {
  const char* given = std::getenv("TILEWISE_PYTHON");
  return given != nullptr && *given != '\0' ? given : "python3";
}

std::string described(const PeerCase& wanted) {
  const Case& shape = *wanted.shape;
  const Sizes& sizes = shape.sizes;
  const Json json{{"dtype", shape.dtype},
                  {"direction", wanted.operation == TW_BACKWARD ? "backward" : "forward"},
                  {"causal", wanted.is_causal},
                  {"batch", sizes.batch},
                  {"heads", sizes.heads},
                  {"key_heads", sizes.key_heads},
                  {"queries", sizes.queries},
                  {"keys", sizes.keys},
                  {"dim", sizes.dim},
                  {"value_dim", sizes.value_dim},
                  {"scale", shape.scores.scale ? Json(*shape.scores.scale) : Json(nullptr)}};
  return one_line_json({{"prepare", json}});
}

class PythonPeer : public Peer {
 public:
  PythonPeer(const std::string& name, int threads, const Device& device)
      : child_({python(), "-c", kEmbeddedPeers, name, std::to_string(threads), device.name()}) {}

  void meet() override {
    const Json hello = hear(0);
    if (hello.contains("missing")) throw PeerLost(read<std::string>(hello, "missing"));
    version_ = read<std::string>(hello, "version");
  }

  [[nodiscard]] std::string version() const override { return version_; }

  std::optional<double> prepare(const PeerCase& wanted) override {
    const Json answer = ask(described(wanted), 0);
    if (answer.contains("declines")) return std::nullopt;
    return read<double>(answer, "first");
  }

  std::vector<double> run(double budget) override {
    auto times = read<std::vector<double>>(ask(one_line_json({{"run", budget}}), budget), "times");
    if (times.empty()) throw PeerLost("gave no times");
    return times;
  }

 private:
  template <class T>
  static T read(const Json& answer, const char* name) {
    try {
      return answer.at(name).get<T>();
    } catch (const JsonError&) {
      throw PeerLost(fmt::format("gave an answer without {}", name));
    }
  }

  Json ask(const std::string& request, double budget) {
    child_.go_on();
    try {
      child_.send(request);
    } catch (const ChildLost& lost) {
      throw PeerLost(lost.what());
    }
    return hear(budget);
  }

  Json hear(double budget) {
    std::string line;
    try {
      line = child_.receive(patience() + 2 * budget);
    } catch (const ChildLost& lost) {
      throw PeerLost(fmt::format("{}: {}", python(), lost.what()));
    }
    child_.pause();
    const auto answer = parse_json(line);
    if (!answer || !answer->is_object()) throw PeerLost("gave an answer that is no JSON object");
    if (const Json* why = answer->find("failed")) throw PeerLost("failed: " + one_line_json(*why));
    return *answer;
  }

  Child child_;
  std::string version_;
};

}  // namespace

std::unique_ptr<Peer> start_python_peer(const std::string& name, int threads,
                                        const Device& device) {
  try {
    return std::make_unique<PythonPeer>(name, threads, device);
  } catch (const ChildLost& lost) {
    throw PeerLost(lost.what());
  }
}

}  // namespace tilewise::cli
