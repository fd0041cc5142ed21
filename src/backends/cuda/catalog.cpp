#include "backends/cuda/catalog.h"

#include <fnmatch.h>

#include <algorithm>
#include <set>

#include "backends/cuda/compiler/program.h"
#include "backends/cuda/compiler/stock.h"
#include "backends/cuda/featured.h"

namespace tilewise::cuda {
namespace {

// A kernel for a target, and where it was found.
struct Row {
  const Variant* variant;
  std::string architecture;
  Cubin cubin;
  bool is_there;

  const char* from() const {
    if (!is_there) return "not yet";
    if (cubin.from == From::kCache) return "cache";
    return cubin.is_ptx ? "pack, as PTX" : "pack";
  }
  int shared_bytes() const { return cubin.resources.shared_bytes + variant->dynamic_shared_bytes; }
};

// Adds featured kernels that the disk cache has.
void add_kept(const Selection& selection, const Stock& stock, const Target& target,
              std::vector<Row>& rows) {
  const auto is_asked = [&](const std::string& name) {
    return std::any_of(
        selection.patterns.begin(), selection.patterns.end(),
        [&](const std::string& pattern) { return fnmatch(pattern.c_str(), name.c_str(), 0) == 0; });
  };
  const auto is_listed = [&](const Variant& variant) {
    return std::find(selection.variants.begin(), selection.variants.end(), &variant) !=
           selection.variants.end();
  };
  for (const Featured& each : every_featured()) {
    if (!is_asked(kernel_name(each))) continue;
    Cubin cubin;
    if (!stock.find(FeaturedText(each).variant, target, cubin)) continue;
    const int place = place_of(each);
    if (place < 0 || is_listed(featured_variant(place))) continue;
    rows.push_back(
        {&featured_variant(place), architecture(target, Form::kCubin), std::move(cubin), true});
  }
}

std::vector<Row> rows_of(const Selection& selection, const Stock& stock) {
  std::vector<Row> rows;
  for (const Target& target : selection.targets) {
    for (const Variant* variant : selection.variants) {
      Row row{variant, architecture(target, Form::kCubin), {}, false};
      row.is_there = stock.find(*variant, target, row.cubin);
      rows.push_back(std::move(row));
    }
    add_kept(selection, stock, target, rows);
  }
  return rows;
}

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version / 10 % 100);
}

void add_text_pack(const Surroundings& around, const Pack& pack, Text& text) {
  if (pack.is_of_others())
    text.add("pack    left out: it was made of other kernels; run ./dev pack and build again\n");
  else if (pack.is_damaged())
    text.add("pack    damaged: nothing of it is used; build the library again\n");
  else if (pack.entries().empty())
    text.add("pack    none: the library was built without one\n");
  else
    text.add("pack    %zu %s in %zu bytes of the library, compiled by NVRTC %s\n",
             pack.entries().size(), pack.entries().size() == 1 ? "kernel" : "kernels",
             around.pack.size(), version_text(pack.nvrtc_version()).c_str());
}

void add_text_head(const Surroundings& around, const Stock& stock, const Selection& selection,
                   Text& text) {
  const Pack& pack = stock.pack();
  const Target& target = selection.targets.front();
  const std::string nvrtc = stock.nvrtc(target);
  text.add("NVRTC   %s\n",
           nvrtc.empty() ? ("none. " + stock.why_not_compiled(target)).c_str() : nvrtc.c_str());
  add_text_pack(around, pack, text);
  if (const std::string too_new = pack.why_too_new(selection.driver_version); !too_new.empty())
    text.add("        %s\n", too_new.c_str());
  if (!around.dump.empty())
    text.add("cache   none: TILEWISE_DUMP is set\n");
  else if (stock.cache().usable())
    text.add("cache   %s\n", around.cache.c_str());
  else if (stock.cache().is_absent())
    text.add("cache   %s, which the first kernel that is compiled makes\n", around.cache.c_str());
  else
    text.add("cache   none. %s\n", stock.cache().why_not().c_str());
  if (!around.dump.empty())
    text.add("dump    %s: where TILEWISE_DUMP leaves kernels, it passes by pack and cache\n",
             around.dump.c_str());
}

// A number that ptxas did not report is printed as a dash.
void add_cell(int number, Text& text) {
  if (number >= 0)
    text.add(" %9d", number);
  else
    text.add(" %9s", "-");
}

void add_text_row(const Row& row, Text& text) {
  // No padding after the last column.
  text.add("\n%-38s %-7s %-*s", row.variant->name, row.architecture.c_str(), row.is_there ? 12 : 0,
           row.from());
  if (!row.is_there) return;
  const Resources& takes = row.cubin.resources;
  add_cell(takes.registers, text);
  add_cell(takes.spill_bytes, text);
  add_cell(takes.shared_bytes < 0 ? -1 : row.shared_bytes(), text);
  text.add(" %9.2f %9zu", row.cubin.seconds, row.cubin.bytes.size());
}

int count_of(const std::vector<Row>& rows, const char* from) {
  int count = 0;
  for (const Row& row : rows) count += std::string(row.from()).starts_with(from);
  return count;
}

std::size_t count_variants(const std::vector<Row>& rows) {
  std::set<const Variant*> found;
  for (const Row& row : rows) found.insert(row.variant);
  return found.size();
}

void write_text(const std::vector<Row>& rows, const Selection& selection, Text& text) {
  const std::size_t variants = count_variants(rows);
  text.add("kernels %zu %s for", variants, variants == 1 ? "variant" : "variants");
  for (const Target& target : selection.targets)
    text.add(" %s", architecture(target, Form::kCubin).c_str());
  text.add(": %d in the pack, %d in the cache, %d not compiled yet\n\n", count_of(rows, "pack"),
           count_of(rows, "cache"), count_of(rows, "not yet"));
  text.add("%-38s %-7s %-12s %9s %9s %9s %9s %9s", "kernel", "arch", "from", "registers", "spilled",
           "shared B", "compile s", "cubin B");
  for (const Row& row : rows) add_text_row(row, text);
  text.add("\n");
}

void add_or_null(const std::string& value, Text& text) {
  if (value.empty())
    text.add("null");
  else
    text.add_quoted(value.c_str());
}

// Why no pack is used, as a sentence; empty if one is used.
std::string why_no_pack(const Pack& pack, int driver_version) {
  if (pack.is_of_others())
    return "The build left out a pack of other kernels: run ./dev pack and build again.";
  if (pack.is_damaged()) return "The pack is damaged: build the library again.";
  if (pack.entries().empty()) return "The library was built without a pack.";
  std::string too_new = pack.why_too_new(driver_version);
  while (too_new.ends_with(' ')) too_new.pop_back();
  return too_new;
}

void add_json_head(const Surroundings& around, const Stock& stock, const Selection& selection,
                   Text& text) {
  const Pack& pack = stock.pack();
  const Target& target = selection.targets.front();
  text.add("{\"nvrtc\": ");
  add_or_null(stock.nvrtc(target), text);
  text.add(", \"why_no_nvrtc\": ");
  add_or_null(stock.why_not_compiled(target), text);
  text.add(", \"pack\": ");
  if (pack.entries().empty())
    text.add("null");
  else
    text.add("{\"kernels\": %zu, \"bytes\": %zu, \"nvrtc\": \"%s\"}", pack.entries().size(),
             around.pack.size(), version_text(pack.nvrtc_version()).c_str());
  text.add(", \"why_no_pack\": ");
  add_or_null(why_no_pack(pack, selection.driver_version), text);
  text.add(", \"cache\": ");
  add_or_null(around.cache, text);
  const bool may_be_used = stock.cache().usable() || stock.cache().is_absent();
  text.add(", \"dump\": ");
  add_or_null(around.dump, text);
  text.add(", \"why_no_cache\": ");
  add_or_null(may_be_used ? "" : stock.cache().why_not(), text);
}

void add_number(const char* name, int number, Text& text) {
  if (number >= 0)
    text.add(", \"%s\": %d", name, number);
  else
    text.add(", \"%s\": null", name);
}

void add_json_row(const Row& row, Text& text) {
  text.add("{\"variant\": \"%s\", \"arch\": \"%s\", \"from\": ", row.variant->name,
           row.architecture.c_str());
  if (!row.is_there) {
    text.add(
        "null, \"is_ptx\": null, \"registers\": null, \"spill_bytes\": null, \"shared_bytes\": "
        "null, \"compile_seconds\": null, \"cubin_bytes\": null}");
    return;
  }
  const Resources& takes = row.cubin.resources;
  text.add("\"%s\", \"is_ptx\": %s", row.cubin.from == From::kCache ? "cache" : "pack",
           row.cubin.is_ptx ? "true" : "false");
  add_number("registers", takes.registers, text);
  add_number("spill_bytes", takes.spill_bytes, text);
  add_number("shared_bytes", takes.shared_bytes < 0 ? -1 : row.shared_bytes(), text);
  text.add(", \"compile_seconds\": %.3f, \"cubin_bytes\": %zu}", row.cubin.seconds,
           row.cubin.bytes.size());
}

void write_json(const std::vector<Row>& rows, Text& text) {
  text.add(", \"kernels\": [");
  for (const Row& row : rows) {
    text.add("%s\n  ", &row == &rows.front() ? "" : ",");
    add_json_row(row, text);
  }
  text.add("\n]}\n");
}

}  // namespace

void list_kernels(const Selection& selection, const Surroundings& around, tw_format format,
                  Text& text) {
  const Stock stock(around, selection.driver_version);
  const std::vector<Row> rows = rows_of(selection, stock);
  if (format == TW_JSON) {
    add_json_head(around, stock, selection, text);
    write_json(rows, text);
  } else {
    add_text_head(around, stock, selection, text);
    write_text(rows, selection, text);
  }
}

Status clear_kernels(const Surroundings& around, core::int64& removed) {
  const DiskCache cache(around, Missing::kLeave);
  std::string why_left;
  removed = cache.clear(why_left);
  if (!why_left.empty()) return failed("%s", why_left.c_str());
  if (cache.usable() || cache.is_absent()) return {};
  return failed("No cache of kernels is emptied. %s", cache.why_not().c_str());
}

}  // namespace tilewise::cuda
