#include "cuda_device/gpu.h"

#include <dlfcn.h>
#include <link.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>

namespace tilewise::gpu {
namespace {

// PTX, which the driver compiles for any GPU that the library runs on.
constexpr char kKernels[] = R"(
.version 7.0
.target sm_80
.address_size 64

.visible .entry empty() {
  ret;
}

.visible .entry trap() {
  trap;
  ret;
}

.visible .entry gate(.param .u64 place) {
  .reg .pred %closed;
  .reg .u32 %word;
  .reg .u64 %at;
  ld.param.u64 %at, [place];
again:
  ld.volatile.global.u32 %word, [%at];
  setp.eq.u32 %closed, %word, 0;
  @%closed bra again;
  ret;
}
)";

void find_all(void* library, Driver& opened) {
  struct Wanted {
    const char* name;
    void** place;
  };
#define TW_WANTED(member, name, parameters) {name, reinterpret_cast<void**>(&opened.member)},
  const Wanted all[] = {TW_GPU_CALLS(TW_WANTED)};
#undef TW_WANTED
  for (const Wanted& each : all) {
    *each.place = dlsym(library, each.name);
    if (!*each.place) opened.why_not = std::string("The driver here lacks ") + each.name + ".";
  }
}

// The failing driver may already be open by the name libcuda.so.1, so scenarios name the real one.
Driver open_real() {
  Driver opened;
  const char* named = std::getenv("TILEWISE_TEST_REAL_CUDA");
  void* library = dlopen(named ? named : "libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    opened.why_not = "There is no NVIDIA driver here, and these tests need a GPU.";
    return opened;
  }
  link_map* map = nullptr;
  if (dlinfo(library, RTLD_DI_LINKMAP, &map) == 0 && map) opened.path = map->l_name;
  find_all(library, opened);
  if (!opened.why_not.empty()) return opened;
  if (opened.start(0) != 0 || opened.device_count(&opened.devices) != 0 || opened.devices == 0)
    opened.why_not = "The NVIDIA driver here sees no GPU, and these tests need one.";
  return opened;
}

}  // namespace

void must(Result result, const char* what) {
  if (result == 0) return;
  static_cast<void>(std::fprintf(stderr, "The driver refuses %s with %d.\n", what, result));
  std::abort();
}

const Driver& driver() {
  static const Driver opened = open_real();
  return opened;
}

const Driver& started() {
  const Driver& it = driver();
  static const Handle primary = [&] {
    Handle context = nullptr;
    must(it.retain(&context, 0), "the primary context");
    return context;
  }();
  Handle now = nullptr;
  it.current(&now);
  if (!now) must(it.make_current(primary), "to make the context current");
  return it;
}

Handle kernel(const char* name) {
  static const Handle loaded = [] {
    Handle all = nullptr;
    must(started().load_module(&all, kKernels), "the tests' kernels");
    return all;
  }();
  Handle found = nullptr;
  must(started().find_function(&found, loaded, name), name);
  return found;
}

Gate::Gate() {
  constexpr unsigned kPortableAndMapped = 3;
  void* word = nullptr;
  must(started().allocate_host(&word, sizeof(std::uint32_t), kPortableAndMapped), "a word");
  word_ = static_cast<volatile std::uint32_t*>(word);
  *word_ = 0;
  kernel("gate");  // loaded now: to load it later might wait
}

Gate::~Gate() {
  open();
  driver().wait_for_all();
  driver().release_host(const_cast<std::uint32_t*>(word_));
}

void Gate::close_on(Handle stream) {
  auto at = static_cast<Address>(reinterpret_cast<std::uintptr_t>(word_));
  void* arguments[] = {&at};
  must(started().launch(kernel("gate"), 1, 1, 1, 1, 1, 1, 0, stream, arguments, nullptr), "a gate");
}

void Gate::open() {
  *word_ = 1;
}

}  // namespace tilewise::gpu
