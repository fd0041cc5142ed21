#include "cli/demo_report.h"

#include <fmt/core.h>

#include <algorithm>
#include <sstream>

#include "cli/core/element.h"
#include "cli/core/machine.h"
#include "cli/core/terminal.h"

namespace tilewise::cli {
namespace {

bool agree(const std::vector<Agreement>& all) {
  return !all.empty() && std::all_of(all.begin(), all.end(), is_exact);
}

std::size_t columns() {
  static const std::size_t columns = columns_of(stdout);
  return columns;
}

void say(std::string_view text) {
  print(wrapped(text, columns(), {2, 2}));
}

// Prints explain's lines, such as "tile 96 queries x 64 keys", wrapped below their values.
void show_plan(const std::string& text) {
  print("\n");
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t start = std::min(line.find_first_not_of(' '), line.size());
    const std::size_t gap = line.find("  ", start);
    const std::size_t value = gap == std::string::npos ? start : line.find_first_not_of(' ', gap);
    print(wrapped(std::string_view(line).substr(start), columns(), {2 + start, 2 + value}));
  }
}

std::string heading(const std::string& text) {
  return fmt::format("\n{}\n", styled(Style::kBold, text));
}

void show_proof(const DemoReport& report) {
  const std::int64_t all = report.small.sizes.queries, many = report.large.sizes.queries;
  print(heading("Exactness, against float64 from the formulas"));
  say(fmt::format(
      "Largest error, in units of its bound, of all rows of a sequence of {} and of some "
      "rows of the one of {}; ||error|| / ||exact|| of both, and what is allowed.",
      all, many));
  print("\n");
  Table table("lrrrrrl");
  table.add({"result", fmt::format("all of {}", all), fmt::format("some of {}", many), "relative",
             "allowed", "elements", "exact"});
  for (std::size_t i = 0; i < report.whole.size(); ++i) {
    const Agreement &whole = report.whole[i], &sampled = report.sampled[i];
    table.add({whole.name, fmt::format("{:.3f}", whole.worst), fmt::format("{:.3f}", sampled.worst),
               fmt::format("{:.1e}", std::max(whole.relative, sampled.relative)),
               fmt::format("{:.1e}", whole.allowed),
               fmt::format("{}", whole.elements + sampled.elements),
               is_exact(whole) && is_exact(sampled) ? styled(Style::kGreen, "yes")
                                                    : styled(Style::kRed, "NO")});
  }
  print(table.text_within(columns(), 2));
}

void show_time(const DemoReport& report) {
  print(heading("Time and memory"));
  Table table("lrrrrr");
  table.add({"direction", "median", "spread", "GFLOP/s", "workspace",
             report.device.is_gpu() ? "on the GPU" : "peak resident"});
  const auto row = [&](const char* name, bool backward, const DirectionReport& direction) {
    table.add({name, seconds(direction.timing.median), spread_text(direction.timing),
               number(gflops(report.large, backward, direction)), bytes(direction.workspace_bytes),
               bytes(direction.peak_bytes)});
  };
  row("forward", false, report.forward);
  row("backward", true, report.backward);
  print(table.text_within(columns(), 2));
  const double matrix = score_matrix_bytes(report.large);
  say(
      fmt::format("The tensors themselves take {}. The standard algorithm stores the score matrix "
                  "besides: {} forward, {} backward.",
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
  const Device& device = report.device;
  const std::string where =
      device.is_gpu() ? fmt::format("{} ({})", device.facts.name, device.name()) : "the processor";
  const std::string title =
      fmt::format("Tilewise {} on {}: exact attention, tile by tile", tw_version(), where);
  print(wrapped(styled(Style::kBold, title), columns(), {}));
  if (report.device.is_gpu()) {
    say(fmt::format("{}, {}", report.device.text(),
                    bytes(static_cast<double>(report.device.facts.memory_bytes))));
  }
  say(fmt::format("{}, {} threads, {}", machine.processor, machine.threads,
                  bytes(machine.memory_bytes)));
  print(heading("The problem, and how it is run"));
  say(fmt::format("one causal sequence of {}, {} query heads on {} key heads, dim {}, {}",
                  sizes.queries, sizes.heads, sizes.key_heads, sizes.dim, report.large.dtype));
  show_plan(report.forward_plan);
  show_plan(report.backward_plan);
  show_proof(report);
  show_time(report);
  const bool proved = is_proved(report);
  const std::string verdict = fmt::format(
      "{} {} in {}", proved ? styled(Style::kGreen, "PROVED:") : styled(Style::kRed, "WRONG:"),
      proved ? "attention and its gradients lie within their bounds,"
             : "a result lies outside its bound,",
      seconds(report.total_seconds));
  print("\n" + wrapped(verdict, columns(), {}));
}

}  // namespace tilewise::cli
