// The C face's functions for the GPU's kernels: list them, compile them ahead, remove them.
#include <exception>

#include "api/call.h"
#include "backends/cuda/catalog.h"
#include "problem/structs.h"

namespace tilewise {
namespace {

// Runs a body that may allocate memory, and turns exceptions into a refusal.
template <class Body>
tw_status answer_of(char* message, std::size_t message_bytes, const Body& body) {
  const DefaultArithmetic arithmetic;
  Status status;
  try {
    status = body();
  } catch (const std::exception& error) {
    status = failed("There is no memory to look after kernels (%s).", error.what());
  }
  return answer(status, message, message_bytes);
}

Status read(const tw_kernel_choice* choice, cuda::Selection& selection) {
  Given<tw_kernel_choice> given;
  TW_TRY(given.read(choice, "choice", "tw_kernel_choice"));
  return cuda::select(*given, selection);
}

}  // namespace
}  // namespace tilewise

using namespace tilewise;

// The ABI fixes the parameters.
// NOLINTNEXTLINE(readability-function-size)
tw_status tw_kernels(const tw_kernel_choice* choice, tw_format format, char* text,
                     size_t text_bytes, size_t* needed, char* message, size_t message_bytes) {
  return answer_of(message, message_bytes, [&]() -> Status {
    if (format != TW_TEXT && format != TW_JSON)
      return invalid("The format is %d: give TW_TEXT or TW_JSON.", static_cast<int>(format));
    cuda::Selection selection;
    TW_TRY(read(choice, selection));
    Text written(text, text_bytes);
    cuda::list_kernels(selection, cuda::surroundings(), format, written);
    if (needed) *needed = written.needed();
    return {};
  });
}

tw_status tw_build_kernels(const tw_kernel_choice* choice, tw_progress progress, void* host,
                           char* message, size_t message_bytes) {
  return answer_of(message, message_bytes, [&]() -> Status {
    cuda::Selection selection;
    TW_TRY(read(choice, selection));
    return cuda::build_kernels(selection, cuda::surroundings(), {progress, host});
  });
}

tw_status tw_add_nvrtc_folder(const char* folder, char* message, size_t message_bytes) {
  return answer_of(message, message_bytes, [&]() -> Status {
    if (!folder || *folder != '/')
      return invalid("The folder is '%.200s': its path has to begin with a slash.",
                     folder ? folder : "");
    cuda::add_folder_of_nvrtc(folder);
    return {};
  });
}

tw_status tw_clear_kernels(int64_t* removed, char* message, size_t message_bytes) {
  return answer_of(message, message_bytes, [&]() -> Status {
    core::int64 count = 0;
    const Status status = cuda::clear_kernels(cuda::surroundings(), count);
    if (removed) *removed = count;
    return status;
  });
}
