#include "cli/demo_report.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "cli/element.h"
#include "cli/machine.h"
#include "cli/terminal.h"

namespace tilewise::cli {
namespace {

bool agree(const std::vector<Agreement>& all) {
  return !all.empty() && std::all_of(all.begin(), all.end(), is_exact);
}

std::string indented(const std::string& text) {
  std::string result = "  ";
  for (const char c : text) {
    result += c;
    if (c == '\n') result += "  ";
  }
  result.erase(result.find_last_not_of(" \n") + 1);
  return result + "\n";
}

std::string heading(const std::string& text) {
  return fmt::format("\n{}\n", styled(Style::kBold, text));
}

void show_proof(const DemoReport& report) {
  print(heading("Exactness, against float64 from the formulas"));
  Table table("lrrrrrl");
  table.add({"result", fmt::format("error/bound, all of {}", report.small.sizes.queries),
             fmt::format("rows of {}", report.large.sizes.queries), "relative error", "allowed",
             "elements", "exact"});
  for (std::size_t i = 0; i < report.whole.size(); ++i) {
    const Agreement &whole = report.whole[i], &sampled = report.sampled[i];
    table.add({whole.name, fmt::format("{:.3f}", whole.worst), fmt::format("{:.3f}", sampled.worst),
               fmt::format("{:.1e}", std::max(whole.relative, sampled.relative)),
               fmt::format("{:.1e}", whole.allowed),
               fmt::format("{}", whole.elements + sampled.elements),
               is_exact(whole) && is_exact(sampled) ? styled(Style::kGreen, "yes")
                                                    : styled(Style::kRed, "NO")});
  }
  print(table.text(2));
}

void show_time(const DemoReport& report) {
  print(heading("Time and memory"));
  Table table("lrrrrr");
  table.add({"direction", "median", "spread", "GFLOP/s", "workspace", "peak resident"});
  const auto row = [&](const char* name, bool backward, const DirectionReport& direction) {
    table.add({name, seconds(direction.timing.median), spread_text(direction.timing),
               number(gflops(report.large, backward, direction)), bytes(direction.workspace_bytes),
               bytes(direction.peak_bytes)});
  };
  row("forward", false, report.forward);
  row("backward", true, report.backward);
  print(table.text(2));
  const double matrix = score_matrix_bytes(report.large);
  print(
      fmt::format("  The tensors themselves take {}. The standard algorithm stores the score "
                  "matrix besides:\n  {} forward, {} backward.\n",
                  bytes(report.operand_bytes), bytes(matrix), bytes(2 * matrix)));
}

}  // namespace

bool is_proved(const DemoReport& report) {
  return agree(report.whole) && agree(report.sampled);
}

double gflops(const Case& shape, bool backward, const DirectionReport& report) {
  return operations(shape, backward) / report.timing.median / 1e9;
}

double score_matrix_bytes(const Case& shape) {
  const Sizes& sizes = shape.sizes;
  const auto elements = static_cast<double>(sizes.batch * sizes.heads * sizes.queries) *
                        static_cast<double>(sizes.keys);
  return elements * static_cast<double>(tw_dtype_bytes(dtype_from_name(shape.dtype)));
}

void show(const DemoReport& report) {
  const Sizes& sizes = report.large.sizes;
  const Machine machine = this_machine();
  print(styled(Style::kBold,
               fmt::format("Tilewise {}: exact attention, tile by tile", tw_version())));
  print(fmt::format("\n  {}, {} threads, {}\n", machine.processor, machine.threads,
                    bytes(machine.memory_bytes)));
  print(heading("The problem, and how it is run"));
  print(fmt::format("  one causal sequence of {}, {} query heads on {} key heads, dim {}, {}\n\n",
                    sizes.queries, sizes.heads, sizes.key_heads, sizes.dim, report.large.dtype));
  print(indented(report.forward_plan));
  print(fmt::format("\n{}", indented(report.backward_plan)));
  show_proof(report);
  show_time(report);
  const bool proved = is_proved(report);
  print(fmt::format("\n{} {} in {}\n",
                    proved ? styled(Style::kGreen, "PROVED:") : styled(Style::kRed, "WRONG:"),
                    proved ? "attention and its gradients lie within the bound of the exact result,"
                           : "a result lies outside its bound of the exact one,",
                    seconds(report.total_seconds)));
}

}  // namespace tilewise::cli
