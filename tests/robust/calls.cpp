#include "robust/calls.h"

#include <gtest/gtest.h>

#include <cstring>

namespace tilewise::robust {
namespace {

void write_number(tw_dtype dtype, unsigned char* to, double number) {
  const auto single = static_cast<float>(number);
  std::uint32_t bits = 0;
  std::memcpy(&bits, &single, sizeof bits);
  const auto half = static_cast<std::uint16_t>(bits >> 16);
  if (dtype == TW_FLOAT64) std::memcpy(to, &number, sizeof number);
  if (dtype == TW_FLOAT32) std::memcpy(to, &single, sizeof single);
  if (dtype == TW_BFLOAT16) std::memcpy(to, &half, sizeof half);
}

}  // namespace

const char* name_of(Kind kind) {
  const char* const names[] = {"forward", "backward", "probabilities", "merge", "rotary", "append"};
  return names[static_cast<int>(kind)];
}

double Memory::number() {
  return static_cast<double>(below(4096)) / 2048 - 1;
}

std::int64_t Memory::below(std::int64_t count) {
  state_ = state_ * 6364136223846793005u + 1442695040888963407u;
  return static_cast<std::int64_t>((state_ >> 33) % static_cast<std::uint64_t>(count));
}

tw_tensor Memory::place(tw_dtype dtype, const std::vector<std::int64_t>& shape, Bytes& bytes) {
  tw_tensor tensor{};
  tensor.dtype = dtype;
  tensor.rank = static_cast<std::int32_t>(shape.size());
  std::int64_t count = 1;
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    tensor.shape[axis] = shape[axis];
    tensor.stride[axis] = count;
    count *= shape[axis];
  }
  bytes.resize(static_cast<std::size_t>(count) * tw_dtype_bytes(dtype));
  tensor.data = bytes.data();
  tensor.byte_size = static_cast<std::int64_t>(bytes.size());
  return tensor;
}

tw_tensor Memory::input(tw_dtype dtype, const std::vector<std::int64_t>& shape, double size) {
  Bytes& bytes = inputs_.emplace_back();
  const tw_tensor tensor = place(dtype, shape, bytes);
  const std::size_t step = tw_dtype_bytes(dtype);
  for (std::size_t at = 0; at < bytes.size(); at += step)
    write_number(dtype, bytes.data() + at, size * number());
  return tensor;
}

tw_tensor Memory::output(tw_dtype dtype, const std::vector<std::int64_t>& shape) {
  const tw_tensor tensor = place(dtype, shape, outputs_.emplace_back());
  outputs_.back().assign(outputs_.back().size(), 0xA5);
  before_.push_back(outputs_.back());
  return tensor;
}

tw_tensor Memory::indices(const std::vector<std::int64_t>& numbers) {
  Bytes& bytes = inputs_.emplace_back();
  const tw_tensor tensor = place(TW_INT64, {static_cast<std::int64_t>(numbers.size())}, bytes);
  std::memcpy(bytes.data(), numbers.data(), bytes.size());
  return tensor;
}

void Memory::spoil_outputs() {
  for (std::size_t n = 0; n < outputs_.size(); ++n)
    std::memcpy(outputs_[n].data(), before_[n].data(), before_[n].size());
}

std::vector<unsigned char> Memory::results() const {
  Bytes all;
  for (const Bytes& output : outputs_) all.insert(all.end(), output.begin(), output.end());
  return all;
}

bool Memory::wrote(const std::vector<unsigned char>& results) const {
  std::size_t at = 0;
  for (const Bytes& output : outputs_) {
    if (at + output.size() > results.size() ||
        std::memcmp(output.data(), results.data() + at, output.size()) != 0)
      return false;
    at += output.size();
  }
  return at == results.size();
}

Call::Call(Kind kind, std::uint64_t seed) : kind_(kind), seed_(seed), memory_(seed) {}

std::string Call::name() const {
  return std::string(name_of(kind_)) + " " + std::to_string(seed_);
}

tw_operation Call::operation() const {
  if (kind_ == Kind::kBackward) return TW_BACKWARD;
  return kind_ == Kind::kProbabilities ? TW_PROBABILITIES : TW_FORWARD;
}

bool Call::get_ready(const tw_execution& where) {
  if (!request()) return true;
  std::size_t bytes = 0;
  if (tw_workspace(operation(), request(), &where, &bytes, message_, sizeof message_) != TW_OK)
    return false;
  workspace_.assign(bytes, 0xFF);
  return true;
}

tw_status Call::run(tw_execution where) {
  where.workspace = workspace_.data();
  where.workspace_bytes = workspace_.size();
  return make(where, false);
}

tw_status Call::run_refused(tw_execution where) {
  where.workspace = workspace_.data();
  where.workspace_bytes = workspace_.size();
  return make(where, true);
}

tw_status Call::prepare(tw_execution where) {
  return tw_prepare(operation(), request(), &where, message_, sizeof message_);
}

tw_status Call::explain(tw_execution where, char* text, std::size_t bytes) {
  std::size_t needed = 0;
  return tw_explain(operation(), request(), &where, TW_TEXT, text, bytes, &needed, message_,
                    sizeof message_);
}

tw_execution with_threads(int threads) {
  tw_execution where{};
  where.size = sizeof where;
  where.threads = threads;
  return where;
}

std::vector<unsigned char> results_of(Call& call, const tw_execution& where) {
  call.spoil_outputs();
  const bool ready = call.get_ready(where);
  const tw_status status = ready ? call.run(where) : TW_INVALID;
  EXPECT_EQ(status, TW_OK) << call.name() << ": " << call.message();
  return status == TW_OK ? call.results() : std::vector<unsigned char>{};
}

}  // namespace tilewise::robust
