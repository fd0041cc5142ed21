// Where a command's calls run: the processor or a GPU, as --device says or as there is.
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

// What decides it, as options say; empty and 0 where they say nothing.
struct DeviceChoice {
  std::string device, backend;
  std::int32_t threads = 0;
};

// The device that was asked for, or a Failure that says why it cannot be had. Where none was: that
// of the backend that was asked for, by option or by TILEWISE_BACKEND; the processor, whose threads
// they are, where a number of threads was; or else the first GPU that can be used, if there is one.
[[nodiscard]] Device chosen_device(const DeviceChoice& choice);

// "cpu", "cuda", "cuda:1"; anything else is a Failure.
[[nodiscard]] tw_device parse_device(const std::string& text);

}  // namespace tilewise::cli
