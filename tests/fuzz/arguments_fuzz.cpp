// The command line: each line of the input is a word. The command is run in a folder of small
// files, unless it is one that takes seconds.
#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "cli/program.h"
#include "fuzz/answer.h"
#include "fuzz/folder.h"

namespace tilewise::fuzz {
namespace {

constexpr std::size_t kMostWords = 48;

// A run's text goes nowhere; what this program has to say still appears.
class Silence {
 public:
  Silence() {
    stdout = nowhere();
    stderr = nowhere();
    std::cout.rdbuf(nullptr);
    std::cerr.rdbuf(nullptr);
  }
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;
  ~Silence() {
    stdout = out_;
    stderr = errors_;
    std::cout.rdbuf(cout_);
    std::cerr.rdbuf(cerr_);
  }

 private:
  static std::FILE* nowhere() {
    static std::FILE* const file = std::fopen("/dev/null", "w");
    return file;
  }

  std::FILE *const out_ = stdout, *const errors_ = stderr;
  std::streambuf *const cout_ = std::cout.rdbuf(), *const cerr_ = std::cerr.rdbuf();
};

// Numbers from 10 to 4999 become less than 17, for they may cost time: as threads, or as dims, of
// which `explain` times a sample. Larger ones are refused or not timed, and stay as they are.
std::string cheap(const std::string& word) {
  const std::size_t value = word.find('=') + 1;  // 0 where there is none
  if (word.find_first_not_of("0123456789,.+-", value) != std::string::npos) return word;
  std::string result = word.substr(0, value), digits;
  for (std::size_t i = value; i <= word.size(); ++i) {
    if (i < word.size() && word[i] >= '0' && word[i] <= '9') {
      if (digits == "0") digits.clear();
      digits += word[i];
      continue;
    }
    const bool is_costly = digits.size() >= 2 && digits.size() <= 4 && std::stoi(digits) < 5000;
    result += is_costly ? std::to_string(std::stoi(digits) % 17) : digits;
    digits.clear();
    if (i < word.size()) result += word[i];
  }
  return result;
}

// "0x1f" is a number, too, for the parser; one way of writing them is enough.
bool is_other_notation(const std::string& word) {
  for (std::size_t i = 0; i + 1 < word.size(); ++i) {
    if (word[i] == '0' && std::isalpha(static_cast<unsigned char>(word[i + 1])) != 0) return true;
  }
  return false;
}

// Words with a slash are left out, so that files lie in the folder or nowhere.
std::vector<std::string> words_of(const std::string& input) {
  std::vector<std::string> words{"tilewise"};
  for (std::size_t begin = 0; begin < input.size() && words.size() < kMostWords;) {
    const std::size_t end = std::min(input.find('\n', begin), input.size());
    const std::string word = input.substr(begin, end - begin).c_str();
    if (word.find('/') == std::string::npos && !is_other_notation(word))
      words.push_back(cheap(word));
    begin = end + 1;
  }
  // Without these options explain would time a sample of its default shape, for too long.
  const auto has = [&](const char* flag) {
    return std::any_of(words.begin(), words.end(),
                       [&](const std::string& word) { return word.starts_with(flag); });
  };
  if (words.size() < 2 || words[1] != "explain") return words;
  if (!has("--dim")) words.insert(words.begin() + 2, {"--dim", "4"});
  if (!has("--length") && !has("--case")) words.insert(words.begin() + 2, {"--length", "12"});
  return words;
}

// The other commands take seconds: they measure, prove or check.
bool takes_moments(std::string_view command) {
  return command == "explain" || command == "run" || command == "completion";
}

int run(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  const int count = static_cast<int>(words.size());
  const Silence silence;
  try {
    return cli::parse_and_run(count, pointers.data(), takes_moments);
  } catch (const cli::Failure& failure) {
    if (std::string_view(failure.what()).empty()) return -1;
    return cli::report(failure, count, pointers.data());
  }
}

}  // namespace
}  // namespace tilewise::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tilewise::fuzz;
  static Folder folder;
  setenv("TILEWISE_NUM_THREADS", "1", 1);
  auto words = words_of(std::string(reinterpret_cast<const char*>(data), size));
  folder.enter();
  const int status = run(words);
  folder.leave();
  if (status < tilewise::cli::kOk || status > tilewise::cli::kUnsupported)
    wrong("the exit status is %d", status);
  return 0;
}
