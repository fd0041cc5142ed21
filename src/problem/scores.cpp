// What a score is made of: scale, softcap, ALiBi, bias and sinks; dropout; factors of FP8 tensors.
#include <cmath>

#include "problem/features.h"

namespace tilewise {
namespace {

// Refuses a scale or softcap that float32 cannot hold: scores are float32 unless the query is
// float64.
Status check_held(double number, const char* name, const Problem& problem) {
  const auto held = static_cast<double>(static_cast<float>(number));
  const bool lost = !std::isfinite(held) || (held == 0 && number != 0);
  if (problem.query.dtype == DType::kFloat64 || !lost) return {};
  return invalid("%s is %g, which float32 cannot hold: with these inputs scores are float32.", name,
                 number);
}

Status check_scale(const tw_scores& given, Problem& problem) {
  TW_TRY(check_flag(given.has_scale, "scores.has_scale"));
  if (!given.has_scale && given.scale != 0) {
    return invalid("scores.scale is %g but scores.has_scale is 0: set that to 1, or scale to 0.",
                   given.scale);
  }
  if (!std::isfinite(given.scale)) {
    return invalid("scores.scale is %g: it must be finite.", given.scale);
  }
  if (!std::isfinite(given.softcap) || given.softcap < 0) {
    return invalid("scores.softcap is %g: it must be finite and not negative (0 is none).",
                   given.softcap);
  }
  TW_TRY(check_held(given.scale, "scores.scale", problem));
  TW_TRY(check_held(given.softcap, "scores.softcap", problem));
  const auto dim = static_cast<double>(problem.shape.dim);
  const double usual = 1 / std::sqrt(dim);
  problem.scores.scale = given.has_scale ? given.scale : usual;
  problem.scores.softcap = given.softcap;
  return {};
}

Status check_slopes(Call& call, const tw_tensor& slopes, Problem& problem) {
  const Shape& shape = problem.shape;
  const bool ranked = slopes.rank == kBatchHeads.rank;
  const Form form{"scores.slopes", ranked ? kBatchHeads : kHeads, wide_types(problem)};
  TW_TRY(call.input(slopes, form, problem.scores.slopes));
  if (!problem.scores.slopes) return {};
  return check_shape(problem.scores.slopes, form,
                     {.size = {ranked ? shape.batch : 1, shape.heads, 1, 1}});
}

Status check_factor(Call& call, const tw_tensor& factor, const char* name, const Problem& problem,
                    View& view) {
  const Form form{name, kFactors, wide_types(problem)};
  TW_TRY(call.input(factor, form, view));
  if (!view) return {};
  return check_shape(view, form,
                     {.size = {problem.shape.batch, problem.shape.key_heads, 1, 1}, .ones = true});
}

}  // namespace

Types wide_types(const Problem& problem) {
  return problem.query.dtype == DType::kFloat64 ? Types::kFloat32Or64 : Types::kFloat32;
}

Status check_scores(Call& call, const tw_scores* scores, Problem& problem) {
  Given<tw_scores> given;
  TW_TRY(given.read(scores, "scores", "tw_scores"));
  TW_TRY(check_scale(*given, problem));
  TW_TRY(check_slopes(call, given->slopes, problem));

  const Form bias{"scores.bias", kScorePairs, Types::kFloat};
  TW_TRY(call.input(given->bias, bias, problem.scores.bias));
  if (problem.scores.bias) {
    TW_TRY(check_shape(problem.scores.bias, bias, wanted_pairs(problem)));
  }
  const Form sinks{"scores.sinks", kHeads, wide_types(problem)};
  TW_TRY(call.input(given->sinks, sinks, problem.scores.sinks));
  if (!problem.scores.sinks) return {};
  return check_shape(problem.scores.sinks, sinks, {.size = {1, problem.shape.heads, 1, 1}});
}

Status check_dropout(Call& call, const tw_dropout* dropout, Problem& problem) {
  Given<tw_dropout> given;
  TW_TRY(given.read(dropout, "dropout", "tw_dropout"));
  if (!(given->probability >= 0 && given->probability < 1)) {
    return invalid("dropout.probability is %g: it must be at least 0 and below 1.",
                   given->probability);
  }
  const auto threshold =
      static_cast<core::int32>(std::lround(given->probability * core::Dropout::kSteps));
  if (threshold == core::Dropout::kSteps) {
    return invalid(
        "dropout.probability is %.9g, which rounds to 1 in steps of 1/65536: nothing "
        "would be left.",
        given->probability);
  }
  for (int k = 0; k < 4; ++k) {
    if (given->base[k] < 0 || given->base[k] > int64{0xFFFFFFFF}) {
      return invalid("dropout.base[%d] is %lld: it must be from 0 to 2^32 - 1.", k,
                     int64{given->base[k]});
    }
    problem.dropout.base[k] = given->base[k];
  }
  if (given->state) {
    if (reinterpret_cast<std::uintptr_t>(given->state) % alignof(std::uint64_t) != 0) {
      return invalid("dropout.state lies at an address that is no multiple of 8: align it.");
    }
    View state{.dtype = DType::kInt64, .size = {1, 1, 1, 2}, .stride = {0, 0, 0, 1}};
    state.data = reinterpret_cast<std::byte*>(const_cast<std::uint64_t*>(given->state));
    state.on_device = call.buffers().on_device;
    problem.dropout.state = state;
    TW_TRY(call.remember("dropout.state", Role::kInput, problem.dropout.state));
  }
  problem.dropout.decide = {given->seed, given->offset, threshold};
  return {};
}

Status check_scaling(Call& call, const tw_scaling* scaling, Problem& problem) {
  Given<tw_scaling> given;
  TW_TRY(given.read(scaling, "scaling", "tw_scaling"));
  Scaling& factors = problem.scaling;
  TW_TRY(check_factor(call, given->query, "scaling.query", problem, factors.query));
  TW_TRY(check_factor(call, given->key, "scaling.key", problem, factors.key));
  if (problem.operation != TW_PROBABILITIES) {
    TW_TRY(check_factor(call, given->value, "scaling.value", problem, factors.value));
  }
  TW_TRY(check_factor(call, given->output_gradient, "scaling.output_gradient", problem,
                      factors.output_gradient));
  if (factors.output_gradient && problem.operation != TW_BACKWARD) {
    return invalid(
        "scaling.output_gradient is given but this call has no gradients: leave it "
        "absent outside tw_backward.");
  }
  return {};
}

}  // namespace tilewise
