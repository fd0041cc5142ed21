// `tilewise completion`: shell completion written from the program's own commands and options, so
// that the two cannot drift apart.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>

#include "cli/call.h"
#include "cli/check_report.h"
#include "cli/command.h"
#include "cli/element.h"
#include "cli/nearest.h"
#include "cli/terminal.h"

namespace tilewise::cli {
namespace {

struct Choice {
  std::vector<std::string> flags;  // "--causal"
  std::string about;
  bool takes_value = false, takes_file = false;
  std::vector<std::string> values;  // when there are only these
};

// What an option takes is told by its type's name: "FILE", "CASE", "{cpu,cuda}".
std::vector<std::string> values_of(const std::string& type) {
  if (type.find("CASE") != std::string::npos) return case_names();
  if (type.find("BACKEND") != std::string::npos) return backend_names();
  if (type.find("SERIES") != std::string::npos) return series_names();
  if (type.find("FAMILY") != std::string::npos) return family_names();
  if (type.find("DTYPE") != std::string::npos) return float_type_names();
  const std::size_t open = type.find('{'), end = type.find('}');
  if (open == std::string::npos || end == std::string::npos) return {};
  std::vector<std::string> values;
  for (const std::string& word : CLI::detail::split(type.substr(open + 1, end - open - 1), ',')) {
    // Words in capitals stand for what the user makes up.
    if (word.find_first_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ") == std::string::npos) {
      values.push_back(word);
    }
  }
  return values;
}

std::vector<Choice> choices_of(const CLI::App& app) {
  std::vector<Choice> choices;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_positional()) {
      choices.push_back(
          {{}, option->get_description(), true, false, values_of(option->get_type_name())});
      continue;
    }
    Choice choice;
    for (const auto& name : option->get_snames()) choice.flags.push_back("-" + name);
    for (const auto& name : option->get_lnames()) choice.flags.push_back("--" + name);
    choice.about = option->get_description();
    choice.takes_value = option->get_items_expected_max() > 0;
    if (choice.takes_value) {
      choice.takes_file = option->get_type_name().find("FILE") != std::string::npos;
      choice.values = values_of(option->get_type_name());
    }
    choices.push_back(choice);
  }
  return choices;
}

std::vector<const CLI::App*> commands_of(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App*) { return true; });
}

std::vector<std::string> command_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : commands_of(app)) names.push_back(command->get_name());
  return names;
}

std::string quoted(std::string text) {
  for (std::size_t at = 0; (at = text.find('\'', at)) != std::string::npos; at += 4) {
    text.replace(at, 1, "'\\''");
  }
  return "'" + text + "'";
}

std::string bash_command(const std::string& pattern, const CLI::App& app,
                         std::vector<std::string> words) {
  std::string values;
  for (const Choice& choice : choices_of(app)) {
    words.insert(words.end(), choice.flags.begin(), choice.flags.end());
    if (choice.flags.empty()) words.insert(words.end(), choice.values.begin(), choice.values.end());
    if (!choice.takes_value || choice.flags.empty()) continue;
    const std::string reply =
        choice.takes_file ? "COMPREPLY=($(compgen -f -- \"$word\"))"
                          : fmt::format("COMPREPLY=($(compgen -W {} -- \"$word\"))",
                                        quoted(fmt::format("{}", fmt::join(choice.values, " "))));
    values += fmt::format("        {}) {}; return ;;\n", fmt::join(choice.flags, "|"), reply);
  }
  std::string text = fmt::format("    {})\n", pattern);
  if (!values.empty()) text += fmt::format("      case \"$before\" in\n{}      esac\n", values);
  return text + fmt::format("      words={}\n      ;;\n",
                            quoted(fmt::format("{}", fmt::join(words, " "))));
}

std::string bash(const CLI::App& app) {
  std::string text =
      "_tilewise() {\n"
      "  local word=\"${COMP_WORDS[COMP_CWORD]}\" before=\"${COMP_WORDS[COMP_CWORD-1]}\" words=\n"
      "  COMPREPLY=()\n"
      "  case \"$([ \"$COMP_CWORD\" -gt 1 ] && printf %s \"${COMP_WORDS[1]}\")\" in\n";
  for (const CLI::App* command : commands_of(app)) {
    text += bash_command(command->get_name(), *command, {});
  }
  text += bash_command("*", app, command_names(app));
  return text +
         "  esac\n"
         "  COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
         "}\n"
         "complete -o filenames -o bashdefault -F _tilewise tilewise\n";
}

// zsh's _arguments reads [ ] and : as its own marks.
std::string zsh_about(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c == '[' || c == ']' || c == ':') result += '\\';
    result += c;
  }
  return result;
}

std::string zsh_arguments(const CLI::App& app) {
  std::string text;
  for (const Choice& choice : choices_of(app)) {
    std::string action;
    if (choice.takes_value) {
      action = choice.takes_file ? ":file:_files"
                                 : fmt::format(":value:({})", fmt::join(choice.values, " "));
    }
    for (const std::string& flag : choice.flags) {
      const auto word = fmt::format("{}[{}]{}", flag, zsh_about(choice.about), action);
      text += fmt::format(" \\\n        {}", quoted(word));
    }
    if (choice.flags.empty()) text += fmt::format(" \\\n        {}", quoted("1" + action));
  }
  return text;
}

std::string zsh(const CLI::App& app) {
  std::string text =
      "#compdef tilewise\n"
      "_tilewise() {\n"
      "  local curcontext=\"$curcontext\" state line\n"
      "  local -a commands\n"
      "  commands=(\n";
  for (const CLI::App* command : commands_of(app)) {
    text += fmt::format("    {}\n", quoted(fmt::format("{}:{}", command->get_name(),
                                                       zsh_about(command->get_description()))));
  }
  text += fmt::format("  )\n  _arguments -C{} \\\n    '1: :->command' '*:: :->rest' && return\n",
                      zsh_arguments(app));
  text +=
      "  case $state in\n"
      "    command) _describe command commands ;;\n"
      "    rest)\n      case $line[1] in\n";
  for (const CLI::App* command : commands_of(app)) {
    text += fmt::format("      {})\n        _arguments{}\n        ;;\n", command->get_name(),
                        zsh_arguments(*command));
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
    line += " -a " + quoted(fmt::format("{}", fmt::join(choice.values, " ")));
  }
  return line + " -d " + quoted(choice.about) + "\n";
}

std::string fish(const CLI::App& app) {
  std::string text = "complete -c tilewise -f\n";
  for (const Choice& choice : choices_of(app)) text += fish_option(choice, "__fish_use_subcommand");
  for (const CLI::App* command : commands_of(app)) {
    text += fmt::format("complete -c tilewise -n __fish_use_subcommand -a {} -d {}\n",
                        command->get_name(), quoted(command->get_description()));
    for (const Choice& choice : choices_of(*command)) {
      text += fish_option(choice, "__fish_seen_subcommand_from " + command->get_name());
    }
  }
  return text;
}

}  // namespace

void add_completion(CLI::App& app, Chosen& chosen) {
  const auto shell = std::make_shared<std::string>();
  CLI::App& command = *app.add_subcommand("completion", "Print completion for a shell");
  command.add_option("shell", *shell, "The shell to print it for")
      ->required()
      ->type_name("{bash,zsh,fish}");
  command.footer(
      "Example: tilewise completion bash > ~/.local/share/bash-completion/completions/tilewise");
  command.callback([shell, &app, &chosen] {
    chosen = [shell, &app] {
      if (*shell == "bash") {
        print(bash(app));
      } else if (*shell == "zsh") {
        print(zsh(app));
      } else if (*shell == "fish") {
        print(fish(app));
      } else {
        throw Failure(kUsage, no_such("shell", *shell, {"bash", "zsh", "fish"}));
      }
      return kOk;
    };
  });
}

}  // namespace tilewise::cli
