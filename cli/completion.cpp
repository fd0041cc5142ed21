// `tilewise completion`: shell completion generated from the program's own commands and options.
#include <fmt/core.h>

#include <algorithm>
#include <memory>

#include "cli/check_report.h"
#include "cli/command.h"
#include "cli/core/call.h"
#include "cli/core/element.h"
#include "cli/core/joined.h"
#include "cli/core/nearest.h"
#include "cli/core/terminal.h"

namespace tilewise::cli {
namespace {

struct Choice {
  std::vector<std::string> flags;  // "--causal"
  std::string about;
  bool takes_value = false, takes_file = false;
  std::vector<std::string> values;  // to be offered; empty if any text may be given
  bool is_repeated = false;
};

// The values that an option takes, from the name of its type: "FILE", "CASE", "{cpu,cuda}".
std::vector<std::string> values_of(const std::string& type) {
  if (type.find("CASE") != std::string::npos) return case_names();
  if (type.find("BACKEND") != std::string::npos) return backend_names();
  if (type.find("SERIES") != std::string::npos) return series_names();
  if (type.find("DTYPE") != std::string::npos) return float_type_names();
  const std::size_t open = type.find('{'), end = type.find('}');
  if (open == std::string::npos || end == std::string::npos) return {};
  std::vector<std::string> values;
  for (std::size_t begin = open + 1; begin <= end;) {
    const std::size_t comma = std::min(type.find(',', begin), end);
    const std::string word = type.substr(begin, comma - begin);
    // Words in capitals stand for values that the user makes up.
    if (word.find_first_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ") == std::string::npos) {
      values.push_back(word);
    }
    begin = comma + 1;
  }
  return values;
}

const Choice kHelp{{"-h", "--help"}, "Print this help", false, false, {}, false};

std::vector<Choice> choices_of(const Command& command) {
  std::vector<Choice> choices{kHelp};
  for (const Option& option : command.options) {
    Choice choice{{option.name}, option.about, option.takes_value(), false, {}, false};
    if (!choice.flags.front().starts_with("-")) choice.flags.clear();
    choice.is_repeated = std::holds_alternative<std::vector<std::string>*>(option.place);
    if (choice.takes_value) {
      choice.takes_file = option.type.find("FILE") != std::string::npos;
      choice.values = values_of(option.type);
    }
    choices.push_back(choice);
  }
  return choices;
}

// The options of the program itself.
std::vector<Choice> own_choices() {
  return {kHelp, {{"--version"}, "Print the versions and backends", false, false, {}, false}};
}

std::vector<std::string> command_names() {
  std::vector<std::string> names;
  for (const Command& command : all_commands()) names.push_back(command.name);
  return names;
}

std::string quoted(std::string text) {
  for (std::size_t at = 0; (at = text.find('\'', at)) != std::string::npos; at += 4) {
    text.replace(at, 1, "'\\''");
  }
  return "'" + text + "'";
}

std::string bash_command(const std::string& pattern, const std::vector<Choice>& choices,
                         std::vector<std::string> words) {
  std::string values;
  for (const Choice& choice : choices) {
    words.insert(words.end(), choice.flags.begin(), choice.flags.end());
    if (choice.flags.empty()) words.insert(words.end(), choice.values.begin(), choice.values.end());
    if (!choice.takes_value || choice.flags.empty()) continue;
    const std::string reply = choice.takes_file
                                  ? "COMPREPLY=($(compgen -f -- \"$word\"))"
                                  : fmt::format("COMPREPLY=($(compgen -W {} -- \"$word\"))",
                                                quoted(joined(choice.values, " ")));
    values += fmt::format("        {}) {}; return ;;\n", joined(choice.flags, "|"), reply);
  }
  std::string text = fmt::format("    {})\n", pattern);
  if (!values.empty()) text += fmt::format("      case \"$before\" in\n{}      esac\n", values);
  return text + fmt::format("      words={}\n      ;;\n", quoted(joined(words, " ")));
}

std::string bash() {
  std::string text =
      "_tilewise() {\n"
      "  local word=\"${COMP_WORDS[COMP_CWORD]}\" before=\"${COMP_WORDS[COMP_CWORD-1]}\" words=\n"
      "  COMPREPLY=()\n"
      "  case \"$([ \"$COMP_CWORD\" -gt 1 ] && printf %s \"${COMP_WORDS[1]}\")\" in\n";
  for (const Command& command : all_commands()) {
    text += bash_command(command.name, choices_of(command), {});
  }
  text += bash_command("*", own_choices(), command_names());
  return text +
         "  esac\n"
         "  COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
         "}\n"
         "complete -o filenames -o bashdefault -F _tilewise tilewise\n";
}

// Escapes [ ] and :, which have a meaning in zsh's _arguments.
std::string zsh_about(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c == '[' || c == ']' || c == ':') result += '\\';
    result += c;
  }
  return result;
}

std::string zsh_arguments(const std::vector<Choice>& choices) {
  std::string text;
  for (const Choice& choice : choices) {
    std::string action;
    if (choice.takes_value) {
      action = choice.takes_file ? ":file:_files"
                                 : fmt::format(":value:({})", joined(choice.values, " "));
    }
    for (const std::string& flag : choice.flags) {
      const auto word = fmt::format("{}[{}]{}", flag, zsh_about(choice.about), action);
      text += fmt::format(" \\\n        {}", quoted(word));
    }
    if (choice.flags.empty()) {
      const std::string place = choice.is_repeated ? "*" : "1";
      text += fmt::format(" \\\n        {}", quoted(place + action));
    }
  }
  return text;
}

std::string zsh() {
  std::string text =
      "#compdef tilewise\n"
      "_tilewise() {\n"
      "  local curcontext=\"$curcontext\" state line\n"
      "  local -a commands\n"
      "  commands=(\n";
  for (const Command& command : all_commands()) {
    text += fmt::format("    {}\n", quoted(command.name + ":" + zsh_about(command.about)));
  }
  text += fmt::format("  )\n  _arguments -C{} \\\n    '1: :->command' '*:: :->rest' && return\n",
                      zsh_arguments(own_choices()));
  text +=
      "  case $state in\n"
      "    command) _describe command commands ;;\n"
      "    rest)\n      case $line[1] in\n";
  for (const Command& command : all_commands()) {
    text += fmt::format("      {})\n        _arguments{}\n        ;;\n", command.name,
                        zsh_arguments(choices_of(command)));
  }
  return text +
         "      esac\n      ;;\n  esac\n}\n"
         "if [ \"$funcstack[1]\" = _tilewise ]; then _tilewise \"$@\"; else compdef _tilewise "
         "tilewise; fi\n";
}

std::string fish_option(const Choice& choice, const std::string& condition) {
  std::string line = fmt::format("complete -c tilewise -n {}", quoted(condition));
  for (const std::string& flag : choice.flags) {
    line += flag.starts_with("--") ? " -l " + flag.substr(2) : " -s " + flag.substr(1);
  }
  if (choice.takes_file) {
    line += " -r -F";
  } else if (choice.takes_value) {
    line += choice.flags.empty() ? " -f" : " -x";
    line += " -a " + quoted(joined(choice.values, " "));
  }
  return line + " -d " + quoted(choice.about) + "\n";
}

std::string fish() {
  std::string text = "complete -c tilewise -f\n";
  for (const Choice& choice : own_choices()) text += fish_option(choice, "__fish_use_subcommand");
  for (const Command& command : all_commands()) {
    text += fmt::format("complete -c tilewise -n __fish_use_subcommand -a {} -d {}\n", command.name,
                        quoted(command.about));
    for (const Choice& choice : choices_of(command)) {
      text += fish_option(choice, "__fish_seen_subcommand_from " + command.name);
    }
  }
  return text;
}

ExitStatus run(const std::string& shell) {
  if (shell == "bash") {
    print(bash());
  } else if (shell == "zsh") {
    print(zsh());
  } else if (shell == "fish") {
    print(fish());
  } else {
    throw Failure(kUsage, no_such("shell", shell, {"bash", "zsh", "fish"}));
  }
  return kOk;
}

}  // namespace

Command completion_command() {
  const auto shell = std::make_shared<std::string>();
  Option option{"shell", "The shell to print it for", shell.get(), "{bash,zsh,fish}"};
  option.is_required = true;
  return {"completion",
          "Print completion for a shell",
          "Example: tilewise completion bash > ~/.local/share/bash-completion/completions/tilewise",
          {option},
          [shell] { return run(*shell); }};
}

}  // namespace tilewise::cli
