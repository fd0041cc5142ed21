// What holds for every answer of the C face, whatever was asked; and how a broken promise ends.
#pragma once

#include <cstddef>
#include <functional>

#include "tilewise/tilewise.h"

namespace tilewise::fuzz {

// Says what promise was broken and ends the program, as the fuzzer expects of a crash.
[[noreturn]] void wrong(const char* format, ...) __attribute__((format(printf, 1, 2)));

using Ask = std::function<tw_status(char* message, std::size_t message_bytes)>;

// Asks with a message of this many bytes (none: null), and checks status and message.
tw_status answer_of(std::size_t message_bytes, const Ask& ask);

}  // namespace tilewise::fuzz
