// Checks of what may be asked beyond plain attention. Each fills its part of the problem, whose
// shape and sides are known by then.
#pragma once

#include "problem/call.h"

namespace tilewise {

// The size of something by query and key. Where the longest sequence is only bounded (packed and
// cached sides), tables may be larger.
Wanted wanted_pairs(const Problem& problem);

// float32, or where the query is float64 that, too.
Types wide_types(const Problem& problem);

Status check_mask(Call& call, const tw_mask* mask, Problem& problem);
Status check_scores(Call& call, const tw_scores* scores, Problem& problem);
Status check_dropout(Call& call, const tw_dropout* dropout, Problem& problem);
Status check_scaling(Call& call, const tw_scaling* scaling, Problem& problem);
Status check_gradients(Call& call, const tw_request& request, Problem& problem);

}  // namespace tilewise
