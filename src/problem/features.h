// Checks of the options beyond plain attention. Each check fills its part of the problem, whose
// shape and sides are already known.
#pragma once

#include "problem/call.h"

namespace tilewise {

// The size of a tensor with axes (batch, query head, query, key). Where the call gives only a bound
// on the longest sequence (packed and cached sides), the tensor may be larger.
Wanted wanted_pairs(const Problem& problem);

// float32; float64 is allowed, too, if the query is float64.
Types wide_types(const Problem& problem);

Status check_mask(Call& call, const tw_mask* mask, Problem& problem);
Status check_scores(Call& call, const tw_scores* scores, Problem& problem);
Status check_dropout(Call& call, const tw_dropout* dropout, Problem& problem);
Status check_scaling(Call& call, const tw_scaling* scaling, Problem& problem);
Status check_gradients(Call& call, const tw_request& request, Problem& problem);

}  // namespace tilewise
