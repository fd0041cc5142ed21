// Every entry point of the C face: requests that are right but for a few faults, and requests of
// wild bytes. No memory is touched that is not the call's, a refused call changes nothing, an
// accepted one writes its outputs alone, and what tw_workspace says is enough and not too much.
#include <cstring>
#include <memory>

#include "fuzz/answer.h"
#include "fuzz/attention.h"
#include "fuzz/cached.h"
#include "fuzz/execution.h"

namespace tilewise::fuzz {
namespace {

// An input may take some milliseconds; what would take longer is asked about and not run.
constexpr double kMostCost = 2e6;
constexpr std::size_t kMostWorkspace = 4 << 20;
constexpr double kWidestExplained = 16;

struct Style {
  explicit Style(Bytes& bytes) {
    constexpr std::array<std::size_t, 6> kMessages{2048, 2048, 0, 1, 2, 40};
    const std::uint8_t choice = bytes.byte();
    faults = choice / 32;
    is_wild = choice % 32 == 31;
    message_bytes = bytes.one_of(kMessages);
    extras = bytes.byte();
  }

  int faults;
  bool is_wild;
  std::size_t message_bytes;
  std::uint8_t extras;  // bits: 1 no request, 2 no execution, 4 explain, the rest a misalignment
};

void injure(Bytes& bytes, const Style& style, const Surface& surface, const Memory& memory) {
  if (style.is_wild) overwrite(bytes, surface, memory);
  for (int n = 0; n < style.faults; ++n) spoil(bytes, surface, memory);
}

// The attention calls on one request, one after the other.
class Trial {
 public:
  Trial(Bytes& bytes, const Style& style)
      : style_(style), memory_(bytes.byte()), call_(bytes, memory_), where_(bytes) {
    injure(bytes, style, call_.surface(), memory_);
    if (bytes.byte() % 8 == 0) spoil(bytes, where_.surface(), memory_);
    where_.keep_few_threads();
    if ((style.extras & 0x1f) == 1) request_ = nullptr;
    if ((style.extras & 0x1f) == 2) execution_ = nullptr;
    memory_.remember();
  }

  void run() {
    std::size_t needed = 0x5a5a;
    const tw_status asked = ask([&](char* message, std::size_t bytes) {
      return tw_workspace(call_.operation, request_, execution_, &needed, message, bytes);
    });
    if (asked != TW_OK && needed != 0x5a5a) wrong("a refused tw_workspace answered");
    const tw_status prepared = ask([&](char* message, std::size_t bytes) {
      return tw_prepare(call_.operation, request_, execution_, message, bytes);
    });
    if (asked != prepared) wrong("tw_workspace says %d, tw_prepare %d", asked, prepared);
    if ((style_.extras & 0x1c) == 4) explain(asked);
    if (asked != TW_OK) {
      if (attend(64) == TW_OK) wrong("a request that tw_workspace refuses was run");
    } else if (call_.cost() < kMostCost && needed < kMostWorkspace) {
      if (needed > 0 && attend(needed - 1) == TW_OK) wrong("less workspace than needed is enough");
      attend(needed);
    }
  }

 private:
  tw_status ask(const Ask& question) {
    const tw_status status = answer_of(style_.message_bytes, question);
    memory_.expect_unchanged();
    return status;
  }

  // Runs in a workspace of exactly so many bytes.
  tw_status attend(std::size_t workspace_bytes) {
    const std::size_t shift = style_.extras >> 5;
    const auto workspace = std::make_unique<std::byte[]>(workspace_bytes + shift);
    where_.execution.known.workspace = workspace.get() + shift;
    where_.execution.known.workspace_bytes = workspace_bytes;
    constexpr std::array kFunctions{tw_forward, tw_backward, tw_probabilities};
    const auto function = kFunctions[call_.operation];
    const tw_status status = answer_of(style_.message_bytes, [&](char* message, std::size_t bytes) {
      return function(request_, execution_, message, bytes);
    });
    if (status != TW_OK) {
      memory_.expect_unchanged();
      for (std::size_t i = 0; i < workspace_bytes + shift; ++i) {
        if (workspace[i] != std::byte{0}) wrong("a refused call wrote to its workspace");
      }
    } else {
      memory_.expect_unchanged_outside(call_.surface().tensors);
    }
    return status;
  }

  // Explaining runs a short sample, of as many heads as there are workers.
  void explain(tw_status asked) {
    if (call_.widest() > kWidestExplained || where_.parallel.known.workers > 4) return;
    constexpr std::array<std::size_t, 4> kSizes{4096, 0, 1, 100};
    const std::size_t size = kSizes[style_.message_bytes % 4];
    const auto text = std::make_unique<char[]>(size);
    if (size > 0) text[0] = '#';
    std::size_t needed = 0;
    const tw_format format = style_.extras >> 7 != 0 ? TW_JSON : TW_TEXT;
    const tw_status status = ask([&](char* message, std::size_t bytes) {
      return tw_explain(call_.operation, request_, execution_, format, text.get(), size, &needed,
                        message, bytes);
    });
    if (status != asked) wrong("tw_workspace says %d, tw_explain %d", asked, status);
    if (status != TW_OK) {
      if (needed != 0 || (size > 0 && text[0] != '#')) wrong("a refused tw_explain answered");
    } else if (size > 0 && strnlen(text.get(), size) + 1 != std::min(size, needed)) {
      wrong("tw_explain's text is not cut at its end");
    }
  }

  Style style_;
  Memory memory_;
  Attention call_;
  Where where_;
  const tw_request* request_ = &call_.request.known;
  const tw_execution* execution_ = &where_.execution.known;
};

// The calls beside attention, which take no workspace.
template <class Call, class Function>
void run_beside(Bytes& bytes, const Style& style, Function function) {
  Memory memory(bytes.byte());
  Call call(bytes, memory);
  Where where(bytes);
  injure(bytes, style, call.surface(), memory);
  if constexpr (requires { call.keep_honest(); }) call.keep_honest();
  if (bytes.byte() % 8 == 0) spoil(bytes, where.surface(), memory);
  where.keep_few_threads();
  memory.remember();
  const auto* request = (style.extras & 0x1f) == 1 ? nullptr : &call.request.known;
  const auto* execution = (style.extras & 0x1f) == 2 ? nullptr : &where.execution.known;
  const tw_status status =
      answer_of(style.message_bytes, [&](char* message, std::size_t message_bytes) {
        return function(request, execution, message, message_bytes);
      });
  if (status != TW_OK) {
    memory.expect_unchanged();
  } else {
    memory.expect_unchanged_outside(call.surface().tensors);
  }
}

void expect_names() {
  if (tw_version() == nullptr || tw_backend_name(0) == nullptr) wrong("a name is missing");
  for (const std::int32_t number : {INT32_MIN, -1, 0, 10, INT32_MAX}) {
    if (tw_dtype_name(number) != nullptr || tw_dtype_bytes(number) != 0)
      wrong("%d became a dtype", number);
  }
}

}  // namespace
}  // namespace tilewise::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tilewise::fuzz;
  Bytes bytes(data, size);
  const std::uint8_t kind = bytes.byte() % 8;
  const Style style(bytes);
  if (kind < 5) {
    Trial(bytes, style).run();
  } else if (kind == 5) {
    run_beside<Rotary>(bytes, style, tw_rotary);
  } else if (kind == 6) {
    run_beside<Append>(bytes, style, tw_append);
  } else {
    run_beside<Merge>(bytes, style, tw_merge);
  }
  if (size == 0) expect_names();
  return 0;
}
