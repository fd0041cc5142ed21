#include "plan/explain.h"

#include <cstring>

namespace tilewise {
namespace {

using Integer = long long;

const char* operation_name(tw_operation operation) {
  const char* const names[] = {"forward", "backward", "probabilities"};
  return names[operation];
}

// The mask's band in words: "full, top-left diagonal" or "left 128, right 0, bottom-right diagonal,
// chunks of 64".
void add_band(const Mask& mask, Text& text) {
  const char* const diagonals[] = {"bottom-right", "top-left", "shifted"};
  const bool left = mask.left < core::kUnlimited, right = mask.right < core::kUnlimited;
  if (left) text.add("left %lld, ", Integer{mask.left});
  if (right) text.add("right %lld, ", Integer{mask.right});
  if (!left && !right) text.add("full, ");
  text.add("%s diagonal", diagonals[mask.diagonal]);
  if (mask.diagonal == TW_SHIFTED) text.add(" by %lld", Integer{mask.shift});
  if (mask.chunk > 0) text.add(", chunks of %lld", Integer{mask.chunk});
}

struct Feature {
  const char* name;
  bool present;
};

// Calls body with the name of each option that the problem has, of those that explain tells.
template <class Body>
void for_each_feature(const Problem& p, Body body) {
  const Feature features[] = {
      {"boolean mask", static_cast<bool>(p.mask.visible)},
      {"block mask", static_cast<bool>(p.mask.blocks)},
      {"softcap", p.scores.softcap > 0},
      {"alibi", static_cast<bool>(p.scores.slopes)},
      {"bias", static_cast<bool>(p.scores.bias)},
      {"sinks", static_cast<bool>(p.scores.sinks)},
      {"dropout", p.dropout.decide.active()},
      {"packed queries", p.queries.packed()},
      {"packed keys", p.keys.packed()},
      {"paged keys", p.keys.paged()},
      {"indexed keys", static_cast<bool>(p.keys.batch_index)},
      {"scaling", p.scaling.query || p.scaling.key || p.scaling.value},
  };
  for (const Feature& feature : features)
    if (feature.present) body(feature.name);
}

void add_bytes(double bytes, Text& text) {
  const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  for (; bytes >= 1024 && unit < 4; ++unit) bytes /= 1024;
  text.add(unit ? "%.2f %s" : "%.0f %s", bytes, units[unit]);
}

// A backend's description, split into its lines: `bytes` holds the first, on speed; `kernels` is
// the second, on where kernels come from, or null if none are compiled on the user's machine.
// `bytes` is large because the second line may hold paths.
struct Note {
  Note(const Problem& p, const Plan& plan) {
    Text text(bytes, sizeof bytes);
    plan.backend->describe(p, plan, text);
    if (char* end = std::strchr(bytes, '\n')) {
      *end = 0;
      kernels = end + 1;
    }
  }
  Note(const Note&) = delete;
  Note& operator=(const Note&) = delete;

  char bytes[2048];
  const char* kernels = nullptr;
};

double visible_fraction(const Work& work) {
  return work.pairs > 0 ? work.visible / work.pairs : 0;
}

}  // namespace

void explain_text(const Problem& p, const Plan& plan, const Work& work, double seconds,
                  Text& text) {
  const Shape& s = p.shape;
  text.add("%s, %s, batch %lld, %lld heads", operation_name(p.operation), name_of(p.query.dtype),
           Integer{s.batch}, Integer{s.heads});
  text.add(" (%lld key heads), %lld queries, %lld keys, dim %lld, value dim %lld\n",
           Integer{s.key_heads}, Integer{s.queries}, Integer{s.keys}, Integer{s.dim},
           Integer{s.value_dim});
  text.add("mask       ");
  add_band(p.mask, text);
  text.add("; %.2f %% of the scores visible\n", 100 * visible_fraction(work));
  const char* separator = "also       ";
  for_each_feature(p, [&](const char* name) {
    text.add("%s%s", separator, name);
    separator = ", ";
  });
  if (*separator == ',') text.add("\n");
  text.add("backend    %s: %s\n", plan.backend->name, plan.backend->summary);
  const Note note(p, plan);
  text.add("           %s\n", note.bytes);
  if (note.kernels) text.add("kernels    %s\n", note.kernels);
  text.add("tile       %lld queries x %lld keys, %d %s\n", Integer{plan.tile.rows},
           Integer{plan.tile.columns}, plan.workers, plan.workers == 1 ? "worker" : "workers");
  text.add("workspace  ");
  add_bytes(static_cast<double>(plan.workspace_bytes), text);
  text.add(" (%lld bytes)\nwork       %.4g GFLOP of visible scores\ntraffic    ",
           Integer{plan.workspace_bytes}, work.flops / 1e9);
  add_bytes(work.tiled_bytes, text);
  text.add(" with this tile; N^2 d^2 / M = ");
  add_bytes(work.model_bytes, text);
  text.add(" with M = ");
  add_bytes(work.fast_bytes, text);
  text.add("; the standard algorithm's N d + N^2 = ");
  add_bytes(work.standard_bytes, text);
  if (seconds > 0)
    text.add("\ntime       about %.3g ms, at the %.3g GFLOP/s of a short run just now\n",
             seconds * 1e3, work.flops / seconds / 1e9);
  else
    text.add("\ntime       not predicted\n");
}

void explain_json(const Problem& p, const Plan& plan, const Work& work, double seconds,
                  Text& text) {
  const Shape& s = p.shape;
  text.add("{\"operation\": \"%s\", \"dtype\": \"%s\", ", operation_name(p.operation),
           name_of(p.query.dtype));
  text.add("\"batch\": %lld, \"heads\": %lld, \"key_heads\": %lld, \"queries\": %lld, ",
           Integer{s.batch}, Integer{s.heads}, Integer{s.key_heads}, Integer{s.queries});
  text.add("\"keys\": %lld, \"dim\": %lld, \"value_dim\": %lld, \"mask\": \"", Integer{s.keys},
           Integer{s.dim}, Integer{s.value_dim});
  add_band(p.mask, text);
  text.add("\", \"features\": [");
  const char* separator = "";
  for_each_feature(p, [&](const char* name) {
    text.add("%s\"%s\"", separator, name);
    separator = ", ";
  });
  text.add("], \"visible_fraction\": %.6g, ", visible_fraction(work));
  const Note note(p, plan);
  text.add("\"backend\": \"%s\", \"note\": ", plan.backend->name);
  text.add_quoted(note.bytes);
  if (note.kernels) {
    text.add(", \"kernels\": ");
    text.add_quoted(note.kernels);
  }
  text.add(", ");
  text.add("\"tile\": {\"rows\": %lld, \"columns\": %lld}, \"workers\": %d, ",
           Integer{plan.tile.rows}, Integer{plan.tile.columns}, plan.workers);
  text.add("\"workspace_bytes\": %lld, \"flops\": %.6g, ", Integer{plan.workspace_bytes},
           work.flops);
  text.add("\"tiled_bytes\": %.6g, \"model_bytes\": %.6g, \"standard_bytes\": %.6g, ",
           work.tiled_bytes, work.model_bytes, work.standard_bytes);
  text.add("\"fast_memory_bytes\": %.6g, \"predicted_seconds\": ", work.fast_bytes);
  if (seconds > 0)
    text.add("%.6g}", seconds);
  else
    text.add("null}");
}

}  // namespace tilewise
