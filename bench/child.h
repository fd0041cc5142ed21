// A child process that answers a line with a line. If it hangs, dies or talks nonsense, the
// benchmark goes on without it.
#pragma once

#include <sys/types.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace tilewise::cli {

// Thrown when the child does not answer; the sentence says how. The child has been ended.
class ChildLost : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Child {
 public:
  // Starts the program words[0], found by PATH. It reads our lines on standard input and answers on
  // standard output; its standard error goes to /dev/null.
  explicit Child(const std::vector<std::string>& words);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();

  void send(const std::string& line);
  [[nodiscard]] std::string receive(double seconds);

  // pause() stops the child and go_on() continues it, because a child's threads might spin while
  // others are timed.
  void pause() const;
  void go_on() const;

 private:
  [[noreturn]] void lose(const std::string& how);
  // How the child ended, as far as can be told within some moments.
  [[nodiscard]] std::string ending();
  void end();

  pid_t process_ = -1;
  int socket_ = -1;
  std::string heard_;  // received, but not yet a whole line
};

}  // namespace tilewise::cli
