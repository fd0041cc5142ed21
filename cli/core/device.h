// Chooses where a command's calls run: on the processor or on a GPU.
#pragma once

#include <cstdint>
#include <string>

#include "tilewise/tilewise.h"

namespace tilewise::cli {

struct Device {
  tw_device id{TW_CPU, 0};
  tw_device_facts facts{};  // of a GPU

  [[nodiscard]] bool is_gpu() const { return id.kind != TW_CPU; }
  // "cpu", "cuda:0"
  [[nodiscard]] std::string name() const;
  // "cpu", "cuda:0, NVIDIA H200, sm_90, 132 multiprocessors, driver of CUDA 12.8"
  [[nodiscard]] std::string text() const;
};

// The options that decide the device; "" and 0 where none was given.
struct DeviceChoice {
  std::string device, backend;
  std::int32_t threads = 0;
};

// The device to run on, or a Failure that says why it cannot be used. In this order: the device of
// --device; the device of the backend named by option or TILEWISE_BACKEND; the processor, if a
// number of threads was given; the first usable GPU; the processor.
[[nodiscard]] Device chosen_device(const DeviceChoice& choice);

// Reads "cpu", "cuda" or "cuda:1"; any other text is a Failure.
[[nodiscard]] tw_device parse_device(const std::string& text);

}  // namespace tilewise::cli
