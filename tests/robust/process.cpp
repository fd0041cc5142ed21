#include "robust/process.h"

#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace tilewise::robust {

int run_tests_or_one(int count, char** words, std::span<const Scenario> scenarios) {
  if (count < 4 || std::string(words[1]) != "--alone") {
    testing::InitGoogleTest(&count, words);
    return RUN_ALL_TESTS();
  }
  alarm(static_cast<unsigned>(std::atoi(words[2])));
  for (const Scenario& scenario : scenarios) {
    if (scenario.name == std::string(words[3]))
      return scenario.run({words + 4, words + count}) ? 0 : 1;
  }
  static_cast<void>(std::fprintf(stderr, "There is no scenario %s.\n", words[3]));
  return 2;
}

std::string wait_for(int child) {
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) return "there was no child to wait for";
  if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status));
  const int code = WEXITSTATUS(status);
  return code == 0 ? "" : "exit status " + std::to_string(code);
}

std::string run_in_child(int seconds, const std::function<bool()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(static_cast<unsigned>(seconds));
    _exit(body() ? 0 : 1);
  }
  return wait_for(child);
}

std::string run_alone(int seconds, const std::vector<std::string>& arguments) {
  const int file = memfd_create("output", MFD_CLOEXEC);
  std::vector<std::string> words{"test_robust", "--alone", std::to_string(seconds)};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, file, 1);
  posix_spawn_file_actions_adddup2(&actions, file, 2);
  pid_t child = -1;
  if (posix_spawn(&child, "/proc/self/exe", &actions, nullptr, pointers.data(), environ) != 0)
    child = -1;
  posix_spawn_file_actions_destroy(&actions);

  std::string said = wait_for(child);
  if (!said.empty()) {
    char text[4096];
    const ssize_t bytes = pread(file, text, sizeof text, 0);
    said += '\n';
    said.append(text, bytes > 0 ? static_cast<std::size_t>(bytes) : 0);
  }
  close(file);
  return said;
}

Silence::Silence() : file_(memfd_create("silence", MFD_CLOEXEC)), output_(dup(1)), error_(dup(2)) {
  dup2(file_, 1);
  dup2(file_, 2);
}

long Silence::end() {
  const long bytes = lseek(file_, 0, SEEK_END);
  dup2(output_, 1);
  dup2(error_, 2);
  for (const int file : {file_, output_, error_}) close(file);
  return bytes;
}

}  // namespace tilewise::robust
