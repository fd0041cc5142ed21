#include "cli/parser.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <sstream>

#include "cli/core/joined.h"
#include "cli/core/nearest.h"

namespace tilewise::cli {
namespace {

void add_option(const Option& option, CLI::App& app) {
  if (bool* const* place = std::get_if<bool*>(&option.place)) {
    app.add_flag(option.name, **place, option.about)->group(option.group);
    return;
  }
  const bool is_list = std::holds_alternative<std::vector<std::int64_t>*>(option.place);
  const CLI::callback_t take_all = [&option, is_list](const CLI::results_t& values) {
    // "--bias 1 8 1 1024" is "--bias 1,8,1,1024".
    if (is_list) take(option, joined(values, ","));
    for (const std::string& value : values) {
      if (!is_list) take(option, value);
    }
    return true;
  };
  CLI::Option* added = app.add_option(option.name, take_all, option.about);
  added->type_name(option.type)->group(option.group)->required(option.is_required);
  const bool is_repeated = std::holds_alternative<std::vector<std::string>*>(option.place);
  // Several words without dashes may follow one another.
  const bool takes_several = is_list || (is_repeated && !option.name.starts_with("-"));
  added->type_size(1)->expected(takes_several ? -1 : 1);
  if (is_repeated) added->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

void add_command(const Command& command, CLI::App& app, Parsed& parsed) {
  CLI::App& added = *app.add_subcommand(command.name, command.about);
  for (const Option& option : command.options) add_option(option, added);
  added.footer(command.footer);
  added.callback([&command, &parsed] { parsed.command = &command; });
}

// Refuses "--dropout=": CLI11 would take the next word as its value.
void refuse_empty_values(const std::vector<std::string>& words) {
  for (const std::string& word : words) {
    if (!word.starts_with("--") || word.find('=') != word.size() - 1) continue;
    throw Failure(kUsage, fmt::format("{} has an empty value; give it one, or leave it out",
                                      word.substr(0, word.size() - 1)));
  }
}

// CLI11's message, or for an unknown command or option the names nearest to it.
Failure usage_failure(const CLI::App& app, const CLI::ParseError& error, bool has_words) {
  std::string sentence = error.what();
  const CLI::App* command = &app;
  for (const CLI::App* chosen : app.get_subcommands()) command = chosen;
  const std::vector<std::string> extras = command->remaining();
  if (!extras.empty()) {
    const bool is_option = extras.front().starts_with("-");
    std::vector<std::string> names;
    if (is_option) {
      for (const CLI::Option* option : command->get_options()) {
        for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
      }
    } else {
      for (const CLI::App* known : app.get_subcommands([](const CLI::App*) { return true; })) {
        names.push_back(known->get_name());
      }
    }
    sentence = no_such(is_option ? "option" : "command", extras.front(), names);
  } else if (!has_words) {
    sentence = "no command was given";
  }
  const std::string asked = command == &app ? "" : command->get_name() + " ";
  return {kUsage, fmt::format("{} (see {} {}--help)", sentence, app.get_name(), asked)};
}

}  // namespace

Parsed parse(const Program& program, const std::vector<std::string>& words) {
  Parsed parsed;
  CLI::App app(program.about, program.name);
  app.set_version_flag("--version", program.version, "Print the versions and backends");
  app.set_help_flag("-h,--help", "Print this help");
  app.require_subcommand(0, 1);
  app.footer(program.footer);
  for (const Command& command : program.commands) add_command(command, app, parsed);
  refuse_empty_values(words);
  try {
    // CLI11 takes the words in reverse order.
    app.parse(std::vector<std::string>(words.rbegin(), words.rend()));
  } catch (const CLI::Success& wanted) {
    // CLI11 reports --help and --version by exceptions, too.
    std::ostringstream text;
    app.exit(wanted, text, text);
    return {nullptr, text.str()};
  } catch (const CLI::ParseError& error) {
    throw usage_failure(app, error, !words.empty());
  }
  if (parsed.command == nullptr)
    throw Failure(kUsage, "no command was given (see tilewise --help)");
  return parsed;
}

}  // namespace tilewise::cli
