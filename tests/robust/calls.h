// Calls of every operation with memory of their own, drawn from a number: the same number gives the
// same call, so any two runs of it can be compared to the bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "tilewise/tilewise.h"

namespace tilewise::robust {

enum class Kind { kForward, kBackward, kProbabilities, kMerge, kRotary, kAppend };
inline constexpr Kind kKinds[] = {Kind::kForward, Kind::kBackward, Kind::kProbabilities,
                                  Kind::kMerge,   Kind::kRotary,   Kind::kAppend};

[[nodiscard]] const char* name_of(Kind kind);

// The tensors of one call.
class Memory {
 public:
  explicit Memory(std::uint64_t seed) : state_(seed * 2 + 1) {}

  // Dense; an input holds numbers from -size to size, an output a pattern that no call writes.
  tw_tensor input(tw_dtype dtype, const std::vector<std::int64_t>& shape, double size = 1);
  tw_tensor output(tw_dtype dtype, const std::vector<std::int64_t>& shape);
  tw_tensor indices(const std::vector<std::int64_t>& numbers);

  void spoil_outputs();
  [[nodiscard]] std::vector<unsigned char> results() const;
  [[nodiscard]] bool wrote(const std::vector<unsigned char>& results) const;
  // A number below `count`.
  std::int64_t below(std::int64_t count);

 private:
  using Bytes = std::vector<unsigned char>;

  tw_tensor place(tw_dtype dtype, const std::vector<std::int64_t>& shape, Bytes& bytes);
  double number();

  std::uint64_t state_;
  std::deque<Bytes> inputs_, outputs_, before_;
};

class Call {
 public:
  Call(Kind kind, std::uint64_t seed);
  virtual ~Call() = default;
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // Takes the workspace that a run under `where` needs. After that `run` takes no memory.
  bool get_ready(const tw_execution& where);
  tw_status run(tw_execution where);
  // The same call with something wrong in it.
  tw_status run_refused(tw_execution where);
  tw_status prepare(tw_execution where);
  tw_status explain(tw_execution where, char* text, std::size_t bytes);

  void spoil_outputs() { memory_.spoil_outputs(); }
  [[nodiscard]] std::vector<unsigned char> results() const { return memory_.results(); }
  // The same comparison without taking memory.
  [[nodiscard]] bool wrote(const std::vector<unsigned char>& results) const {
    return memory_.wrote(results);
  }
  [[nodiscard]] const char* message() const { return message_; }
  [[nodiscard]] std::string name() const;

 protected:
  virtual tw_status make(const tw_execution& where, bool refused) = 0;
  // Of attention alone: what tw_workspace and its like ask about.
  [[nodiscard]] virtual const tw_request* request() const { return nullptr; }
  [[nodiscard]] tw_operation operation() const;

  Kind kind_;
  std::uint64_t seed_;
  Memory memory_;
  char message_[512] = "";
  std::vector<unsigned char> workspace_;
};

[[nodiscard]] std::unique_ptr<Call> draw_call(Kind kind, std::uint64_t seed);

// So many threads of the library's own.
[[nodiscard]] tw_execution with_threads(int threads);

// Runs the call and gives what it wrote; nothing, with a failure of the test, when it is refused.
[[nodiscard]] std::vector<unsigned char> results_of(Call& call, const tw_execution& where);

}  // namespace tilewise::robust
