// Another program that answers lines with lines, and may hang, die or babble without harm to us.
#pragma once

#include <sys/types.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace tilewise::cli {

// The child did not answer; the sentence says how. It has been ended.
class ChildLost : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Child {
 public:
  // words[0] is looked up in PATH. It hears us on its standard input, answers on its standard
  // output and complains to nobody.
  explicit Child(const std::vector<std::string>& words);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();

  void send(const std::string& line);
  [[nodiscard]] std::string receive(double seconds);

  // Between its turns a child stands still: its threads might spin while others are timed.
  void pause() const;
  void go_on() const;

 private:
  [[noreturn]] void lose(const std::string& how);
  // How it ended, as far as one can tell within some moments.
  [[nodiscard]] std::string ending();
  void end();

  pid_t process_ = -1;
  int socket_ = -1;
  std::string heard_;  // and not yet a whole line
};

}  // namespace tilewise::cli
