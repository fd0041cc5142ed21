// The weight of a part is its softmax denominator, exp(lse), divided by the sum of all parts' and
// of the sink.
#include "oracle/merge.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tilewise::oracle {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double log_sum_exp(const std::vector<double>& logits) {
  double largest = -kInfinity, sum = 0;
  for (double logit : logits) largest = std::max(largest, logit);
  if (largest == -kInfinity) return -kInfinity;
  for (double logit : logits) sum += std::exp(logit - largest);
  return largest + std::log(sum);
}

}  // namespace

Part merge(const std::vector<Part>& parts, const std::vector<double>& sinks) {
  Part whole{Tensor(parts[0].output.shape), Tensor(parts[0].lse.shape)};
  for (std::int64_t h = 0; h < whole.lse.shape[0]; ++h) {
    for (std::int64_t i = 0; i < whole.lse.shape[1]; ++i) {
      std::vector<double> logits;
      for (const Part& part : parts) logits.push_back(part.lse.at(h, i));
      if (!sinks.empty()) logits.push_back(sinks[static_cast<std::size_t>(h)]);
      const double lse = log_sum_exp(logits);
      whole.lse.at(h, i) = lse;
      for (std::size_t p = 0; p < parts.size() && lse != -kInfinity; ++p) {
        const double share = std::exp(logits[p] - lse);
        for (std::int64_t d = 0; d < whole.output.shape[2]; ++d) {
          whole.output.at(i, h, d) += share * parts[p].output.at(i, h, d);
        }
      }
    }
  }
  return whole;
}

}  // namespace tilewise::oracle
