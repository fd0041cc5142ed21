// Variables of the environment, for tests of what the library reads there: it reads them once.
#pragma once

#include <cstdlib>
#include <string>

#include "plan/settings.h"

namespace tilewise {

// A null value takes the variable away.
inline void set_variable(const char* name, const char* value) {
  if (value)
    setenv(name, value, 1);
  else
    unsetenv(name);
  forget_settings();
}

// Gives a variable another value as long as this object lives.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    const char* before = std::getenv(name);
    is_set_ = before != nullptr;
    before_ = before ? before : "";
    set_variable(name, value);
  }
  ~Variable() { set_variable(name_, is_set_ ? before_.c_str() : nullptr); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

  void set(const char* value) const { set_variable(name_, value); }

 private:
  const char* name_;
  bool is_set_;
  std::string before_;
};

}  // namespace tilewise
