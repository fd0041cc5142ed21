// Scenarios of streams, contexts and devices.
#include <cstdio>
#include <memory>

#include "cuda_device/alone.h"
#include "cuda_device/twins.h"

namespace tilewise::gpu {

bool holds(bool is_true, const std::string& what) {
  if (!is_true) static_cast<void>(std::fprintf(stderr, "Not so: %s.\n", what.c_str()));
  return is_true;
}

bool is_ok(const std::string& message, const char* what) {
  return holds(message.empty(), std::string(what) + " is taken: " + message);
}

namespace {

// The handle of a usual stream, or one that is made.
Handle stream_named(const std::string& name, std::unique_ptr<Stream>& made) {
  if (name == "legacy") return nullptr;
  if (name == "explicit-legacy") return reinterpret_cast<Handle>(std::uintptr_t{1});
  if (name == "per-thread") return reinterpret_cast<Handle>(std::uintptr_t{2});
  made = std::make_unique<Stream>(name == "blocking" ? Stream::kBlocking : Stream::kNonBlocking);
  return made->get();
}

std::size_t bytes_of(const std::vector<float>& numbers) {
  return numbers.size() * sizeof(float);
}

Address address_of(const Tensor& tensor) {
  return static_cast<Address>(reinterpret_cast<std::uintptr_t>(tensor.data));
}

bool is_right(const Twins& twins, const Request& request, const std::string& where) {
  const float off = difference(twins.read(request.output), expected(twins, request));
  return holds(off <= kNear, "the result is right " + where) &&
         holds(twins.is_intact(), "nothing beside the tensors is written " + where);
}

}  // namespace

bool wait_for_nothing(const Arguments& arguments) {
  started();
  std::unique_ptr<Stream> made;
  const Handle stream = stream_named(arguments.at(0), made);
  Twins twins;
  Request request = paged(twins, {9, 12}, {2, 0, 4, 1, 3, 2});
  const Tensor late = twins.floats({2, 5, 4, 24}), found = twins.blank({2, 5, 4, 24});
  Request meant = request;
  meant.query = late;
  const std::vector<float> wanted = expected(twins, meant);

  std::vector<std::int32_t> used{9, 12}, table{2, 0, 4, 1, 3, 2};
  request.keys.used = dense(used.data(), {2});
  request.cache.page_table = dense(table.data(), {2, kColumns});
  Execution where = on_device(stream);
  where.device_tables = false;
  if (!is_ok(workspace(TW_FORWARD, request, where.workspace_bytes, where).message, "a question"))
    return false;
  where.workspace = reinterpret_cast<void*>(twins.bytes(where.workspace_bytes));
  if (!is_ok(prepare(TW_FORWARD, request, where).message, "a call to prepare")) return false;

  // The driver's own copies may load something when they are first made, and wait for that.
  must(driver().copy_later(address_of(found), address_of(late), bytes_of(wanted), stream),
       "a copy");
  must(driver().wait(stream), "to wait for the copy");
  twins.blank_again(found);
  twins.blank_again(request.query);

  Gate gate;
  gate.close_on(stream);
  must(driver().copy_later(address_of(request.query), address_of(late), bytes_of(wanted), stream),
       "a copy before the call");
  const Status status = forward(request, where);
  must(driver().copy_later(address_of(found), address_of(request.output), bytes_of(wanted), stream),
       "a copy behind the call");
  const bool is_pending = driver().query(stream) == kNotReady;
  // The call has returned, so the caller may overwrite tables of the host.
  used.assign(used.size(), 1 << 30);
  table.assign(table.size(), -1);
  gate.open();
  must(driver().wait(stream), "to wait for the stream");
  return is_ok(status.message, "the call") && holds(is_pending, "the call waits for nothing") &&
         holds(difference(twins.read(found), wanted) <= kNear, "the call keeps its place") &&
         holds(twins.is_intact(), "nothing beside the tensors is written");
}

bool keep_contexts(const Arguments&) {
  const Driver& gpu = started();
  Twins twins;
  const Request request = attention(twins);
  const Stream own;
  Handle primary = nullptr, other = nullptr, foreign = nullptr;
  must(gpu.current(&primary), "the current context");
  must(gpu.create_context(&other, 0, 0), "a context of the caller's");
  must(gpu.create_stream(&foreign, Stream::kNonBlocking), "a stream in it");
  // create_context has pushed the new context on top of ours. This pops it. Otherwise making none
  // current, below, would leave one of the two current.
  must(gpu.make_current(nullptr), "to leave it");
  bool good = true;
  const auto with = [&](Handle context, Handle stream, const std::string& how) {
    twins.blank_again(request.output);
    must(gpu.make_current(context), "to make a context current");
    Status status = forward(request, on_device(stream));
    Handle now = nullptr;
    must(gpu.current(&now), "the current context");
    good = holds(now == context, "the context stays current " + how) && good;
    must(gpu.make_current(primary), "to make the first context current");
    must(gpu.wait_for_all(), "to wait");
    return status;
  };
  for (const Handle stream : {own.get(), Handle(nullptr)})
    for (const Handle context : {primary, Handle(nullptr), other}) {
      const std::string how = std::string("on ") + (stream ? "a stream" : "the default stream") +
                              (context == primary ? ", ours current"
                               : context          ? ", another current"
                                                  : ", none current");
      good = is_ok(with(context, stream, how).message, how.c_str()) && good;
      good = is_right(twins, request, how) && good;
    }
  const Status refused = with(other, foreign, "of another's stream");
  return good &&
         holds(refused.message.find("belongs to another device or context") != std::string::npos,
               "a stream of another context is refused: " + refused.message);
}

bool tell_devices_apart(const Arguments&) {
  const Driver& gpu = started();
  Handle first = nullptr, second = nullptr;
  must(gpu.current(&first), "the current context");
  must(gpu.retain(&second, 1), "the second device's context");
  Twins here;
  const Request request = attention(here);
  must(gpu.make_current(second), "to make a context current");
  Twins there;
  const Request elsewhere = attention(there);
  const Stream stream;
  must(gpu.make_current(first), "to make a context current");
  const auto says = [](const Status& status, const char* text) {
    return holds(status.message.find(text) != std::string::npos,
                 std::string(text) + " is said: " + status.message);
  };
  Request mixed = request;
  mixed.value = elsewhere.value;
  bool good = says(forward(request, on_device(stream.get())), "belongs to another device");
  good = says(forward(mixed, on_device()), "value lies on CUDA device 1") && good;
  Execution where = on_device(stream.get());
  where.device.index = 1;
  good = is_ok(forward(elsewhere, where).message, "a call on the second device") && good;
  must(gpu.wait(stream.get()), "to wait for the second device");
  Handle now = nullptr;
  must(gpu.current(&now), "the current context");
  good = holds(now == first, "the first device's context stays current") && good;
  must(gpu.make_current(second), "to make a context current");
  good = is_right(there, elsewhere, "on the second device") && good;
  must(gpu.make_current(first), "to make a context current");
  good = is_ok(forward(request, on_device()).message, "a call on the first device") && good;
  must(gpu.wait_for_all(), "to wait");
  return is_right(here, request, "on the first device") && good;
}

}  // namespace tilewise::gpu
