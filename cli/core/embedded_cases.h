// The text of bench/cases/cases.json, built into the program so that an installed one has it.
#pragma once

namespace tilewise::cli {

extern const char* const kEmbeddedCases;

}  // namespace tilewise::cli
