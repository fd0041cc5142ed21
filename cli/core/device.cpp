#include "cli/core/device.h"

#include <fmt/core.h>

#include <cstdlib>
#include <optional>

#include "cli/core/call.h"
#include "cli/core/failure.h"
#include "cli/core/number.h"

namespace tilewise::cli {
namespace {

// The kind of device that a backend of this name runs on; nullopt for a name that is none.
std::optional<std::int32_t> kind_of(const std::string& backend) {
  for (std::int32_t i = 0; tw_backend_name(i) != nullptr; ++i)
    if (backend == tw_backend_name(i)) return tw_backend_device(i);
  return std::nullopt;
}

// A device with its facts, or the sentence why it cannot be used.
struct Answer {
  std::optional<Device> device;
  std::string why;
};

Answer ask(tw_device id) {
  Device device;
  device.id = id;
  if (id.kind == TW_CPU) return {device, ""};
  Message message{};
  device.facts.size = sizeof device.facts;
  if (tw_device_describe(&id, &device.facts, message.data(), message.size()) == TW_OK)
    return {device, ""};
  return {std::nullopt, message.data()};
}

Device required(tw_device id, const std::string& asked) {
  const Answer answer = ask(id);
  if (answer.device) return *answer.device;
  throw Failure(kUnsupported, fmt::format("{} cannot be had: {}", asked, answer.why));
}

// The first usable GPU, or else the processor.
Device best_there_is() {
  std::int32_t count = 0;
  if (tw_device_count(TW_CUDA, &count, nullptr, 0) != TW_OK) return {};
  for (std::int32_t index = 0; index < count; ++index)
    if (const Answer answer = ask({TW_CUDA, index}); answer.device) return *answer.device;
  return {};
}

const char* kind_name(std::int32_t kind) {
  return kind == TW_CPU ? "the processor" : "a GPU";
}

}  // namespace

std::string Device::name() const {
  return is_gpu() ? fmt::format("cuda:{}", id.index) : "cpu";
}

std::string Device::text() const {
  if (!is_gpu()) return name();
  return fmt::format("{}, {}, sm_{}, {} multiprocessors, driver of CUDA {}.{}", name(), facts.name,
                     facts.architecture, facts.processors, facts.driver / 1000,
                     facts.driver / 10 % 100);
}

tw_device parse_device(const std::string& text) {
  if (text == "cpu") return {TW_CPU, 0};
  if (text == "cuda") return {TW_CUDA, 0};
  const auto index = text.starts_with("cuda:") ? parse_integer(text.substr(5)) : std::nullopt;
  if (!index || *index < 0 || *index > 1023) {
    throw Failure(kUsage,
                  fmt::format("--device takes cpu, cuda or cuda:N; '{}' is none of these", text));
  }
  return {TW_CUDA, static_cast<std::int32_t>(*index)};
}

Device chosen_device(const DeviceChoice& choice) {
  const char* set = std::getenv("TILEWISE_BACKEND");
  const bool by_option = !choice.backend.empty();
  const std::string backend = by_option ? choice.backend : set != nullptr ? set : "";
  const std::optional<std::int32_t> kind = kind_of(backend);
  if (!choice.device.empty()) {
    const tw_device id = parse_device(choice.device);
    if (kind && *kind != id.kind) {
      throw Failure(kUsage, fmt::format("--device {} is {}, but {} asks for the backend {}, which "
                                        "runs on {}; leave one of them out",
                                        choice.device, kind_name(id.kind),
                                        by_option ? "--backend" : "TILEWISE_BACKEND", backend,
                                        kind_name(*kind)));
    }
    return required(id, "--device " + choice.device);
  }
  if (kind && *kind == TW_CUDA) {
    const Device best = best_there_is();
    return best.is_gpu() ? best : required({TW_CUDA, 0}, "the backend " + backend);
  }
  if (!backend.empty() || choice.threads > 0) return {};
  return best_there_is();
}

}  // namespace tilewise::cli
