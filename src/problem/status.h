// How a step ended: a code, and the sentence for the user. Sentences are built in place, since a
// call allocates nothing, not even to refuse.
#pragma once

#include <cstring>

#include "tilewise/tilewise.h"

namespace tilewise {

struct [[nodiscard]] Status {
  static constexpr int kSentenceBytes = 768;

  // A call makes a hundred of these, so no more of them is filled or copied than there is to say.
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
