// Describes a Plan to a person as text, or to a program as JSON.
#pragma once

#include "plan/work.h"
#include "problem/text.h"

namespace tilewise {

void explain_text(const Problem& problem, const Plan& plan, const Work& work, double seconds,
                  Text& text);
void explain_json(const Problem& problem, const Plan& plan, const Work& work, double seconds,
                  Text& text);

}  // namespace tilewise
