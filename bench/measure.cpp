#include "bench/measure.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>

#include "bench/contestant.h"
#include "cli/core/failure.h"
#include "cli/core/machine.h"
#include "cli/core/number.h"
#include "cli/core/upload.h"

namespace tilewise::cli {
namespace {

// Turns of each contestant, so that a slow spell of the machine affects all of them.
constexpr int kRounds = 5;
constexpr std::int64_t kMostThreads = 4096;

// Whether reading memory limits the case: with one query a sequence, each key and value is read for
// very little arithmetic.
bool is_read_bound(const Case& shape, tw_operation operation) {
  return operation == TW_FORWARD && !shape.sizes.is_packed() && shape.sizes.queries == 1;
}

Ceiling better(const Ceiling& a, const Ceiling& b) {
  Ceiling best = a.peak.gflops >= b.peak.gflops ? a : b;
  if (a.read_bandwidth) best.read_bandwidth = std::max(*a.read_bandwidth, *b.read_bandwidth);
  return best;
}

using Contestants = std::vector<std::unique_ptr<Contestant>>;

void take_turns(const Contestants& ours, const Contestants& theirs, double budget) {
  for (int round = 0; round < kRounds; ++round) {
    for (const Contestants* side : {&ours, &theirs}) {
      for (const auto& contestant : *side) contestant->take_turn(budget, kRounds);
    }
  }
}

}  // namespace

double Measurement::gflops() const {
  const bool is_backward = operation == TW_BACKWARD;
  return timing.median > 0 ? operations(shape, is_backward) / timing.median / 1e9 : 0;
}

double Measurement::peak_share() const {
  return ceiling.peak.gflops > 0 ? gflops() / ceiling.peak.gflops : 0;
}

double Measurement::bandwidth() const {
  return timing.median > 0 ? operand_bytes / timing.median : 0;
}

double Measurement::ratio(const PeerTiming& peer) const {
  return timing.median > 0 ? peer.timing.median / timing.median : 0;
}

// The library's own rule: the number asked for, else TILEWISE_NUM_THREADS, else all.
int usable_threads(std::int32_t asked) {
  if (asked > 0) return asked;
  const char* given = std::getenv("TILEWISE_NUM_THREADS");
  const std::string text = given != nullptr ? given : "";
  const auto limit = parse_integer(text.empty() ? "0" : text);
  if (!limit || *limit < 0 || *limit > kMostThreads) {
    throw Failure(kUsage, fmt::format("TILEWISE_NUM_THREADS is '{}': give 1 to {}, or 0 for all",
                                      text, kMostThreads));
  }
  return std::max(1, *limit > 0 ? static_cast<int>(*limit) : this_machine().threads);
}

Bench::Bench(BenchSettings settings)
    : settings_(std::move(settings)), team_(usable_threads(settings_.threads)) {
  // Peers are started first, because nothing can be measured while they load.
  if (settings_.has_peers) peers_ = find_peers(team_.size(), settings_.device);
  measure_machine();
}

void Bench::measure_machine() {
  if (device().is_gpu()) {
    for (const PeakKind kind : {PeakKind::kFloat32, PeakKind::kFloat64, PeakKind::kTensor})
      if (const auto known = known_peak(kind, device().facts)) peaks_[kind] = *known;
    return;
  }
  for (const PeakKind kind :
       {PeakKind::kFloat32, PeakKind::kFloat64, PeakKind::kBfloat16Dot, PeakKind::kBfloat16Tile}) {
    if (const auto found = measure_peak(kind, team_)) peaks_[kind] = *found;
  }
  stream_ = std::make_unique<Stream>(team_);
  read();
  triad_ = stream_->triad();
}

Bench::~Bench() = default;

Peak Bench::peak(PeakKind kind) {
  Peak now = measure_peak(kind, team_).value_or(Peak{});
  if (now.gflops > peaks_[kind].gflops) peaks_[kind] = now;
  return now;
}

double Bench::read() {
  const double now = stream_->read();
  read_ = std::max(read_, now);
  return now;
}

Ceiling Bench::ceiling_of(const Case& shape, tw_operation operation) {
  if (device().is_gpu()) {
    const PeakKind own = shape.dtype == "float64"   ? PeakKind::kFloat64
                         : shape.dtype == "float32" ? PeakKind::kFloat32
                                                    : PeakKind::kTensor;
    return {peaks_.count(own) > 0 ? peaks_[own] : Peak{}, std::nullopt};
  }
  PeakKind kind = shape.dtype == "float64" ? PeakKind::kFloat64 : PeakKind::kFloat32;
  if (shape.dtype == "bfloat16") {
    // bfloat16's peak is the fastest way to multiply it here: its own instructions, or float32's.
    for (const PeakKind own : {PeakKind::kBfloat16Dot, PeakKind::kBfloat16Tile})
      if (peaks_.count(own) > 0 && peaks_[own].gflops > peaks_[kind].gflops) kind = own;
  }
  Ceiling ceiling{peak(kind), std::nullopt};
  if (is_read_bound(shape, operation)) ceiling.read_bandwidth = read();
  return ceiling;
}

std::vector<Measurement> Bench::measure(const Case& shape,
                                        const std::function<void(std::string)>& begin) {
  std::vector<Measurement> results;
  for (const tw_operation operation : settings_.directions) {
    begin(shape.name + (operation == TW_BACKWARD ? " backward" : " forward"));
    for (Measurement& each : measure_direction(shape, operation)) {
      results.push_back(std::move(each));
    }
  }
  return results;
}

std::vector<Measurement> Bench::measure_direction(const Case& shape, tw_operation operation) {
  Workload work(shape, operation == TW_BACKWARD, 1, settings_.layout);
  const Upload there(work.call(), device().id);
  Contestants ours, theirs;
  tw_execution where{};
  where.device = device().id;
  where.threads = settings_.threads;
  for (const std::string& backend : settings_.backends) {
    ours.push_back(our_contestant(backend, operation, work, where));
  }
  const bool has_any = std::any_of(ours.begin(), ours.end(),
                                   [](const auto& each) { return each->refusal().empty(); });
  const auto wanted = has_any ? peer_case(shape, operation) : std::nullopt;
  for (NamedPeer& peer : peers_) {
    if (wanted && peer.is_there()) theirs.push_back(their_contestant(peer, *wanted));
  }
  Ceiling ceiling = ceiling_of(shape, operation);
  take_turns(ours, theirs, settings_.seconds);
  ceiling = better(ceiling, ceiling_of(shape, operation));

  std::vector<PeerTiming> peers;
  for (const auto& each : theirs) {
    if (each->has_samples()) peers.push_back({each->name(), each->timing()});
  }
  std::vector<Measurement> results;
  for (const auto& each : ours) {
    Measurement& result = results.emplace_back();
    result.shape = shape;
    result.operation = operation;
    result.backend = each->name();
    result.operand_bytes = work.operand_bytes();
    result.workspace_bytes = each->workspace_bytes();
    result.ceiling = ceiling;
    if (each->has_samples()) {
      result.timing = each->timing();
      result.peers = peers;
    } else {
      result.refusal = each->refusal();
    }
  }
  return results;
}

}  // namespace tilewise::cli
