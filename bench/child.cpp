#include "bench/child.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__linux__)
#include <sys/prctl.h>
#endif

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>

namespace tilewise::cli {
namespace {

constexpr std::size_t kLongestLine = std::size_t{1} << 22;
constexpr int kNoSuchProgram = 127;

using Clock = std::chrono::steady_clock;

// Runs in the child after fork: it must not allocate memory or take locks.
[[noreturn]] void become(char* const* words, int socket) {
#if defined(__linux__)
  // Ends the child with its parent; a stopped child would otherwise remain.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
  const int nowhere = open("/dev/null", O_WRONLY);
  if (dup2(socket, STDIN_FILENO) >= 0 && dup2(socket, STDOUT_FILENO) >= 0 &&
      dup2(nowhere, STDERR_FILENO) >= 0) {
    execvp(words[0], words);
  }
  // The program could not be started. A sanitizer may flush buffers copied from the parent at exit;
  // the parent must not read them as an answer.
  close(socket);
  close(STDIN_FILENO);
  close(STDOUT_FILENO);
  _exit(kNoSuchProgram);
}

}  // namespace

Child::Child(const std::vector<std::string>& words) {
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  // A socket and not a pipe: writing to a closed socket can be kept from raising SIGPIPE.
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    throw ChildLost(fmt::format("cannot be started: {}", std::strerror(errno)));
  }
  socket_ = ends[0];
  process_ = fork();
  if (process_ == 0) become(arguments.data(), ends[1]);
  close(ends[1]);
  if (process_ < 0) lose(fmt::format("cannot be started: {}", std::strerror(errno)));
}

Child::~Child() {
  end();
}

void Child::send(const std::string& line) {
  const std::string text = line + "\n";
  std::size_t sent = 0;
  while (sent < text.size()) {
    const ssize_t part = ::send(socket_, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (part < 0 && errno == EINTR) continue;
    if (part <= 0) lose(ending());
    sent += static_cast<std::size_t>(part);
  }
}

std::string Child::receive(double seconds) {
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  for (;;) {
    const std::size_t newline = heard_.find('\n');
    if (newline != std::string::npos) {
      std::string line = heard_.substr(0, newline);
      heard_.erase(0, newline + 1);
      return line;
    }
    if (heard_.size() > kLongestLine) lose("answered with a line that does not end");
    const double left = std::chrono::duration<double>(end - Clock::now()).count();
    if (left <= 0) lose(fmt::format("did not answer within {:g} s", seconds));
    pollfd waiting{socket_, POLLIN, 0};
    if (poll(&waiting, 1, static_cast<int>(std::min(1000.0, 1000 * left)) + 1) <= 0) continue;
    std::array<char, 65536> part{};
    const ssize_t count = recv(socket_, part.data(), part.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) lose(ending());
    heard_.append(part.data(), static_cast<std::size_t>(count));
  }
}

void Child::pause() const {
  if (process_ > 0) kill(process_, SIGSTOP);
}

void Child::go_on() const {
  if (process_ > 0) kill(process_, SIGCONT);
}

void Child::lose(const std::string& how) {
  end();
  throw ChildLost(how);
}

std::string Child::ending() {
  int status = 0;
  for (int moment = 0; moment < 100; ++moment) {
    if (process_ <= 0) return "has ended";
    if (waitpid(process_, &status, WNOHANG) == process_) {
      process_ = -1;
      if (WIFSIGNALED(status)) return fmt::format("was ended by signal {}", WTERMSIG(status));
      if (WEXITSTATUS(status) == kNoSuchProgram) return "cannot be started";
      return fmt::format("ended with status {} before it answered", WEXITSTATUS(status));
    }
    usleep(10000);
  }
  return "closed its output";
}

void Child::end() {
  if (socket_ >= 0) close(socket_);
  socket_ = -1;
  if (process_ <= 0) return;
  kill(process_, SIGKILL);
  while (waitpid(process_, nullptr, 0) < 0 && errno == EINTR) {
  }
  process_ = -1;
}

}  // namespace tilewise::cli
