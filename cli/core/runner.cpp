// Calls into the library: workspace, backends by name, and refusals turned into exit statuses.
#include "cli/core/call.h"
#include "cli/core/failure.h"
#include "cli/core/nearest.h"

namespace tilewise::cli {
namespace {

// The request without gradients unless the operation is backward, the only one that takes them.
tw_request request_for(tw_operation operation, const Call& call) {
  tw_request request = call.request;
  if (operation != TW_BACKWARD) request.gradients = nullptr;
  return request;
}

}  // namespace

void check(tw_status status, const Message& message) {
  switch (status) {
    case TW_OK:
      return;
    case TW_INVALID:
      throw Failure(kUsage, message.data());
    case TW_UNSUPPORTED:
      throw Failure(kUnsupported, message.data());
    case TW_FAILED:
      break;
  }
  throw Failure(kFailed, message.data());
}

Runner::Runner(std::int32_t threads, const char* backend, tw_device device) {
  execution_.size = sizeof execution_;
  execution_.threads = threads;
  execution_.backend = backend;
  execution_.device = device;
  execution_.device_tables = is_on_device() ? 1 : 0;
}

std::size_t Runner::workspace_bytes(tw_operation operation, const Call& call) const {
  const tw_request request = request_for(operation, call);
  Message message{};
  std::size_t needed = 0;
  check(tw_workspace(operation, &request, &execution_, &needed, message.data(), message.size()),
        message);
  return needed;
}

std::size_t Runner::prepare(tw_operation operation, const Call& call) {
  const std::size_t needed = workspace_bytes(operation, call);
  Message message{};
  if (needed > execution_.workspace_bytes) {
    const Status status = workspace_.allocate(execution_.device, needed);
    if (!status) throw Failure(kFailed, status.message);
    execution_.workspace = workspace_.data();
    execution_.workspace_bytes = needed;
  }
  const tw_request request = request_for(operation, call);
  const tw_status status =
      tw_prepare(operation, &request, &execution_, message.data(), message.size());
  // workspace_bytes() accepted the request, so the fault lies with the device: most often it has no
  // kernels.
  if (is_on_device() && (status == TW_FAILED || status == TW_UNSUPPORTED)) {
    throw Failure(status == TW_FAILED ? kFailed : kUnsupported,
                  std::string(message.data()) + " --device cpu takes the processor.");
  }
  check(status, message);
  return needed;
}

void Runner::run(tw_operation operation, const Call& call) {
  const tw_request request = request_for(operation, call);
  Message message{};
  const auto function = operation == TW_BACKWARD ? tw_backward : tw_forward;
  check(function(&request, &execution_, message.data(), message.size()), message);
}

void Runner::finish() const {
  if (!is_on_device()) return;
  const Status status = synchronize(execution_.device, execution_.stream);
  if (!status) throw Failure(kFailed, status.message);
}

std::vector<std::string> backend_names() {
  std::vector<std::string> names;
  for (std::int32_t i = 0; tw_backend_name(i) != nullptr; ++i)
    names.emplace_back(tw_backend_name(i));
  return names;
}

const char* backend_named(const std::string& name) {
  if (name.empty()) return nullptr;
  for (std::int32_t i = 0; tw_backend_name(i) != nullptr; ++i)
    if (name == tw_backend_name(i)) return tw_backend_name(i);
  throw Failure(kUsage, no_such("backend", name, backend_names()));
}

void check_environment() {
  Case shape;
  shape.sizes = {
      .queries = 1, .keys = 1, .dim = 1, .value_dim = 1, .query_lengths = {}, .key_lengths = {}};
  Call call;
  describe(shape, false, call);
  try {
    (void)explain(TW_FORWARD, call, Runner().execution(), TW_TEXT);
  } catch (const Failure& failure) {
    if (failure.status() == kUsage) throw;
  }
}

std::string explain(tw_operation operation, const Call& call, const tw_execution& execution,
                    tw_format format) {
  const tw_request request = request_for(operation, call);
  Message message{};
  std::size_t needed = 0;
  std::string text(4096, '\0');
  for (int attempt = 0; attempt < 2; ++attempt) {
    check(tw_explain(operation, &request, &execution, format, text.data(), text.size(), &needed,
                     message.data(), message.size()),
          message);
    if (needed <= text.size()) break;
    text.assign(needed, '\0');
  }
  text.resize(needed > 0 ? needed - 1 : 0);
  return text;
}

}  // namespace tilewise::cli
