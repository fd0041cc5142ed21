#include "bench/report.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "cli/core/joined.h"
#include "cli/core/machine.h"
#include "cli/core/terminal.h"

namespace tilewise::cli {
namespace {

std::string_view direction_name(tw_operation operation) {
  return operation == TW_BACKWARD ? "backward" : "forward";
}

// The value to four digits, which is all that a measurement is good for.
double rounded(double value) {
  if (value == 0 || !std::isfinite(value)) return 0;
  const double unit = std::pow(10, 3 - std::floor(std::log10(std::abs(value))));
  return std::round(value * unit) / unit;
}

Json peak_json(const Bench& bench, PeakKind kind) {
  const auto found = bench.peaks().find(kind);
  if (found == bench.peaks().end()) return nullptr;
  return {{"gflops", rounded(found->second.gflops)}, {"instructions", found->second.instructions}};
}

Json peers_json(const Bench& bench) {
  Json peers = Json::array();
  for (const NamedPeer& peer : bench.peers()) {
    Json row{{"name", peer.name}, {"found", peer.is_there()}};
    if (!peer.version.empty()) row["version"] = peer.version;
    if (!peer.is_there()) row["why"] = peer.absent;
    peers.push_back(std::move(row));
  }
  return peers;
}

void add_figures(const Measurement& result, Json& row) {
  row["seconds"] = result.timing.median;
  row["spread"] = result.timing.spread;
  row["runs"] = result.timing.runs;
  row["gflops"] = result.gflops();
  row["peak_gflops"] = rounded(result.ceiling.peak.gflops);
  row["peak_instructions"] = result.ceiling.peak.instructions;
  row["peak_share"] = rounded(result.peak_share());
  if (result.ceiling.read_bandwidth) {
    row["gbytes_per_second"] = rounded(result.bandwidth() / 1e9);
    row["bandwidth_share"] = rounded(result.bandwidth() / *result.ceiling.read_bandwidth);
  }
  row["operand_bytes"] = result.operand_bytes;
  row["workspace_bytes"] = result.workspace_bytes;
  row["ratios"] = Json::object();
  row["peer_gflops"] = Json::object();
  for (const PeerTiming& peer : result.peers) {
    row["ratios"][peer.peer] = rounded(result.ratio(peer));
    row["peer_gflops"][peer.peer] = rounded(result.gflops() / result.ratio(peer));
  }
}

Json case_json(const Measurement& result) {
  const Sizes& sizes = result.shape.sizes;
  Json row{{"name", result.shape.name},
           {"dtype", result.shape.dtype},
           {"direction", direction_name(result.operation)},
           {"causal", is_causal(result.shape.mask)},
           {"batch", sizes.batch},
           {"heads", sizes.heads},
           {"key_heads", sizes.key_heads},
           {"queries", sizes.queries},
           {"keys", sizes.keys},
           {"dim", sizes.dim},
           {"backend", result.backend}};
  if (result.refusal) {
    row["refused"] = *result.refusal;
  } else {
    add_figures(result, row);
  }
  return row;
}

bool belong_together(const Measurement& a, const Measurement& b) {
  return a.shape.name == b.shape.name && a.operation == b.operation;
}

std::string percent(double share) {
  return fmt::format("{:.0f} %", 100 * share);
}

std::vector<std::string> figures(const Measurement& result, const std::vector<std::string>& peers) {
  std::vector<std::string> row(6 + peers.size());
  if (result.refusal) {
    row[0] = "declines";
    return row;
  }
  row[0] = seconds(result.timing.median);
  row[1] = spread_text(result.timing);
  row[2] = number(result.gflops());
  if (result.ceiling.peak.gflops > 0) row[3] = percent(result.peak_share());
  if (result.ceiling.read_bandwidth) {
    row[4] = percent(result.bandwidth() / *result.ceiling.read_bandwidth);
  }
  row[5] = bytes(result.workspace_bytes);
  for (const PeerTiming& peer : result.peers) {
    const auto column = std::find(peers.begin(), peers.end(), peer.peer) - peers.begin();
    row[6 + static_cast<std::size_t>(column)] = fmt::format("{:.2f}", result.ratio(peer));
  }
  return row;
}

// The names of the peers that have a time in some row; each gets a column.
std::vector<std::string> peer_columns(const std::vector<Measurement>& results) {
  std::vector<std::string> columns;
  for (const Measurement& result : results) {
    for (const PeerTiming& peer : result.peers) {
      if (std::find(columns.begin(), columns.end(), peer.peer) == columns.end()) {
        columns.push_back(peer.peer);
      }
    }
  }
  return columns;
}

using Peaks = std::vector<std::pair<PeakKind, const char*>>;

Peaks peaks_of(const Device& device) {
  if (device.is_gpu()) {
    return {{PeakKind::kFloat32, "float32"},
            {PeakKind::kFloat64, "float64"},
            {PeakKind::kTensor, "tensor"}};
  }
  return {{PeakKind::kFloat32, "float32"},
          {PeakKind::kFloat64, "float64"},
          {PeakKind::kBfloat16Dot, "bfloat16_dot"},
          {PeakKind::kBfloat16Tile, "bfloat16_tile"}};
}

const char* layout_name(TensorLayout layout) {
  return layout == TensorLayout::kHeads ? "heads" : "rows";
}

void show_surroundings(const Bench& bench) {
  print(fmt::format("\nmachine  {}, {} threads", this_machine().processor, bench.threads()));
  if (!bench.device().is_gpu()) {
    print(fmt::format("; reads {:.1f} GB/s, triad {:.1f} GB/s", bench.read_bandwidth() / 1e9,
                      bench.triad_bandwidth() / 1e9));
  }
  print("\n");
  print(fmt::format("layout   {}\n", layout_name(bench.layout())));
  for (const auto& [kind, name] : peaks_of(bench.device())) {
    const auto found = bench.peaks().find(kind);
    if (found == bench.peaks().end()) continue;
    print(fmt::format("peak     {}: {} GFLOP/s with {}\n", name, number(found->second.gflops),
                      found->second.instructions));
  }
  for (const NamedPeer& peer : bench.peers()) {
    print(fmt::format("peer     {} {}\n", peer.name,
                      peer.is_there() ? peer.version : "is left out: " + peer.absent));
  }
}

std::string size_text(const Case& shape) {
  const Sizes& sizes = shape.sizes;
  const std::string lengths = sizes.is_packed()
                                  ? fmt::format("{} packed", joined(sizes.query_lengths, "+"))
                                  : fmt::format("{} x {}", sizes.queries, sizes.keys);
  return fmt::format("{} of {}", lengths,
                     sizes.dim == sizes.value_dim
                         ? fmt::format("{}", sizes.dim)
                         : fmt::format("{}/{}", sizes.dim, sizes.value_dim));
}

}  // namespace

Json machine_json(int threads, const Device& device) {
  const Machine machine = this_machine();
  Json json{{"machine",
             {{"processor", machine.processor},
              {"cores", machine.cores},
              {"threads", threads},
              {"features", machine.features},
              {"memory_bytes", machine.memory_bytes},
              {"system", machine.system}}}};
  if (!device.is_gpu()) return json;
  const tw_device_facts& facts = device.facts;
  json["device"] = {{"name", facts.name},
                    {"architecture", facts.architecture},
                    {"multiprocessors", facts.processors},
                    {"clock_mhz", facts.clock_khz / 1000},
                    {"driver", fmt::format("{}.{}", facts.driver / 1000, facts.driver / 10 % 100)},
                    {"memory_bytes", facts.memory_bytes}};
  return json;
}

Json bench_json(const Bench& bench, const std::vector<Measurement>& results) {
  Json json = machine_json(bench.threads(), bench.device());
  json["version"] = tw_version();
  json["layout"] = layout_name(bench.layout());
  json["peak"] = Json::object();
  json["bandwidth"] = nullptr;
  if (!bench.device().is_gpu()) {
    json["bandwidth"] = {{"read_gbytes_per_second", rounded(bench.read_bandwidth() / 1e9)},
                         {"triad_gbytes_per_second", rounded(bench.triad_bandwidth() / 1e9)}};
  }
  json["peers"] = peers_json(bench);
  json["cases"] = Json::array();
  for (const auto& [kind, name] : peaks_of(bench.device()))
    json["peak"][name] = peak_json(bench, kind);
  for (const Measurement& result : results) json["cases"].push_back(case_json(result));
  return json;
}

void show_measurements(const Bench& bench, const std::vector<Measurement>& results) {
  print(fmt::format("On {}.\n\n", bench.device().text()));
  const std::vector<std::string> peers = peer_columns(results);
  Table table("llllrrrrrr" + std::string(peers.size(), 'r'));
  std::vector<std::string> head{"case",   "dtype",   "direction", "backend",  "median",
                                "spread", "GFLOP/s", "of peak",   "of reads", "workspace"};
  for (const std::string& peer : peers) head.push_back("x " + peer);
  table.add(head);
  const Measurement* before = nullptr;
  for (const Measurement& result : results) {
    const bool is_new = before == nullptr || !belong_together(*before, result);
    std::vector<std::string> row{is_new ? result.shape.name : "", is_new ? result.shape.dtype : "",
                                 is_new ? std::string(direction_name(result.operation)) : "",
                                 result.backend};
    for (std::string& figure : figures(result, peers)) row.push_back(std::move(figure));
    table.add(std::move(row));
    before = &result;
  }
  print(table.text());
  for (const Measurement& result : results) {
    if (result.refusal) {
      print(
          fmt::format("{} declines {}: {}\n", result.backend, result.shape.name, *result.refusal));
    }
  }
  show_surroundings(bench);
}

void show_cases(bool json) {
  if (json) {
    Json list = Json::array();
    for (const Case& shape : all_cases()) {
      list.push_back(
          {{"name", shape.name}, {"tier", tier_name(shape.tier)}, {"about", shape.about}});
    }
    print(indented_json(list) + "\n");
    return;
  }
  Table table("lllrll");
  table.add({"case", "tier", "dtype", "heads", "queries x keys of dim", "about"});
  for (const Case& shape : all_cases()) {
    table.add({shape.name, std::string(tier_name(shape.tier)), shape.dtype,
               fmt::format("{}/{}", shape.sizes.heads, shape.sizes.key_heads), size_text(shape),
               shape.about});
  }
  print(table.text());
}

}  // namespace tilewise::cli
