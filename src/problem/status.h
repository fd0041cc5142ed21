// How a step ended: a code, and a sentence for the user. The sentence is stored in the Status
// itself, because a call allocates nothing, even when it refuses.
#pragma once

#include <cstring>

#include "tilewise/tilewise.h"

namespace tilewise {

struct [[nodiscard]] Status {
  static constexpr int kSentenceBytes = 768;

  // Fills and copies only the sentence's own characters, because a call makes many of these.
  Status() { sentence[0] = '\0'; }
  Status(const Status& from) : code(from.code) { std::strcpy(sentence, from.sentence); }
  Status& operator=(const Status& from) {
    code = from.code;
    if (this != &from) std::strcpy(sentence, from.sentence);
    return *this;
  }

  tw_status code = TW_OK;
  char sentence[kSentenceBytes];

  bool ok() const { return code == TW_OK; }
};

// A sentence says what was given, what is allowed, and what to do. Formats are printf's.
Status invalid(const char* format, ...) __attribute__((format(printf, 1, 2)));
Status unsupported(const char* format, ...) __attribute__((format(printf, 1, 2)));
Status failed(const char* format, ...) __attribute__((format(printf, 1, 2)));

}  // namespace tilewise
