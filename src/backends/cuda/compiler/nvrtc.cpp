#include "backends/cuda/compiler/nvrtc.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>

#include "backends/cuda/compiler/descriptor.h"

namespace tilewise::cuda {
namespace {

constexpr std::size_t kShownOfLog = 480;  // bytes; a Status has 768

// Reads a log line by line: extracts what ptxas reports, and keeps the rest.
class Log {
 public:
  explicit Log(const std::string& text) {
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = std::min(text.find('\n', begin), text.size());
      take(text.substr(begin, end - begin));
      begin = end + 1;
    }
  }

  const std::string& rest() const { return rest_; }
  const Resources& resources() const { return resources_; }

 private:
  void take(const std::string& line) {
    if (line.starts_with("ptxas info") || line.starts_with("ptxas         .")) {
      read_frame(line);
      read_use(line);
    } else if (!line.empty()) {
      rest_ += line + '\n';
    }
  }

  // "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads"
  void read_frame(const std::string& line) {
    const std::size_t at = line.find_first_of("0123456789");
    int frame = 0, stored = 0, loaded = 0;
    if (at == std::string::npos ||
        std::sscanf(line.c_str() + at,
                    "%d bytes stack frame, %d bytes spill stores, %d bytes spill loads", &frame,
                    &stored, &loaded) != 3)
      return;
    resources_.local_bytes = std::max(resources_.local_bytes, frame);
    resources_.spill_bytes = std::max(resources_.spill_bytes, stored + loaded);
  }

  // "Used 48 registers, used 1 barriers, 256 bytes smem"
  void read_use(const std::string& line) {
    const std::size_t at = line.find("Used ");
    if (at == std::string::npos) return;
    std::sscanf(line.c_str() + at, "Used %d registers", &resources_.registers);
    resources_.shared_bytes = 0;
    const std::size_t unit = line.find(" bytes smem");
    if (unit == std::string::npos) return;
    const std::size_t number = line.rfind(' ', unit - 1) + 1;
    std::sscanf(line.c_str() + number, "%d", &resources_.shared_bytes);
  }

  std::string rest_;
  Resources resources_;
};

// The beginning of the log, as one line.
std::string beginning(const std::string& log) {
  std::string text = log.substr(0, kShownOfLog);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  for (std::size_t at = 0; (at = text.find('\n', at)) != std::string::npos;)
    text.replace(at, 1, " | ");
  return text;
}

// Whether a library is shorter than its ELF header says: the loader would map it nevertheless, and
// the process would crash. Also true of what is no regular file, because opening a FIFO would
// block. False for other files that are no library, which the loader itself rejects.
bool is_cut_short(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  struct stat about {};
  Elf64_Ehdr head;
  if (!file.open() || fstat(file.number(), &about) != 0) return false;
  if (!S_ISREG(about.st_mode)) return true;
  if (pread(file.number(), &head, sizeof head, 0) != sizeof head) return false;
  if (std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_phentsize != sizeof(Elf64_Phdr))
    return false;
  for (unsigned n = 0; n < head.e_phnum; ++n) {
    Elf64_Phdr part;
    const auto at = static_cast<off_t>(head.e_phoff + n * sizeof part);
    if (pread(file.number(), &part, sizeof part, at) != sizeof part) return true;
    if (part.p_type == PT_LOAD &&
        part.p_offset + part.p_filesz > static_cast<std::uint64_t>(about.st_size))
      return true;
  }
  return false;
}

std::vector<const char*> pointers(const std::vector<std::string>& texts) {
  std::vector<const char*> result;
  result.reserve(texts.size());
  for (const std::string& text : texts) result.push_back(text.c_str());
  return result;
}

std::string target_of(const Program& program) {
  constexpr const char* kOption = "--gpu-architecture=";
  for (const std::string& option : program.options)
    if (option.starts_with(kOption)) return option.substr(std::string(kOption).size());
  return "an unnamed target";
}

}  // namespace

Status Nvrtc::find_calls(void* library, const char* path, Calls& calls) {
  const char* missing = nullptr;
  const auto find = [&](auto& call, const char* name) {
    call = reinterpret_cast<std::remove_reference_t<decltype(call)>>(dlsym(library, name));
    if (!call) missing = name;
  };
  find(calls.version, "nvrtcVersion");
  find(calls.create, "nvrtcCreateProgram");
  find(calls.compile, "nvrtcCompileProgram");
  find(calls.destroy, "nvrtcDestroyProgram");
  find(calls.log_bytes, "nvrtcGetProgramLogSize");
  find(calls.log, "nvrtcGetProgramLog");
  find(calls.cubin_bytes, "nvrtcGetCUBINSize");
  find(calls.cubin, "nvrtcGetCUBIN");
  find(calls.ptx_bytes, "nvrtcGetPTXSize");
  find(calls.ptx, "nvrtcGetPTX");
  if (missing) return failed("%s is no NVRTC that can be used: it lacks %s.", path, missing);
  return {};
}

Status Nvrtc::open(NvrtcFile& file, Nvrtc& out) {
  for (const std::string& path : {file.path, file.builtins})
    if (path.find('/') != std::string::npos && is_cut_short(path))
      return failed("%s is cut short or no file: install it again.", path.c_str());
  // NVRTC opens this library by its bare name when it compiles. NVRTC of CUDA 13.0 finds it only in
  // the loader's folders; once it is open here, every version finds it.
  if (!file.builtins.empty()) dlopen(file.builtins.c_str(), RTLD_NOW | RTLD_LOCAL);
  void* library = dlopen(file.path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char* reason = dlerror();
    return failed("NVRTC cannot be opened: %s.", reason ? reason : file.path.c_str());
  }
  const Status status = find_calls(library, file.path.c_str(), out.calls_);
  if (!status.ok()) return status;
  int major = 0, minor = 0;
  if (out.calls_.version(&major, &minor) != 0)
    return failed("%s does not tell its version: it is no NVRTC that can be used.",
                  file.path.c_str());
  file.version = major * 1000 + minor * 10;
  file.exact = true;
  out.version_ = file.version;
  out.path_ = file.path;
  return {};
}

Status Nvrtc::compile(const Program& program, std::span<const Source> headers,
                      Compiled& out) const {
  std::vector<const char*> names, texts;
  for (const Source& header : headers) {
    names.push_back(header.name);
    texts.push_back(header.text);
  }
  const auto begin = std::chrono::steady_clock::now();
  Handle handle = nullptr;
  const int result = calls_.create(&handle, program.text.c_str(), program.name.c_str(),
                                   static_cast<int>(headers.size()), texts.data(), names.data());
  if (result != 0) return unsupported("NVRTC (%s) failed with error %d.", path_.c_str(), result);
  const Status status = run(handle, program, out);
  calls_.destroy(&handle);
  out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return status;
}

Status Nvrtc::run(Handle handle, const Program& program, Compiled& out) const {
  const auto get = [handle](auto bytes_of, auto copy, auto& into) {
    std::size_t bytes = 0;
    into.clear();
    if (bytes_of(handle, &bytes) != 0) return false;
    into.resize(bytes);
    return bytes == 0 || copy(handle, reinterpret_cast<char*>(into.data())) == 0;
  };
  auto options = pointers(program.options);
  // Since 13, NVRTC has a cache of its own, and does not report resources for cached kernels.
  if (version_ >= 13000) options.push_back("--no-cache");
  const int result = calls_.compile(handle, static_cast<int>(options.size()), options.data());
  std::string text;
  get(calls_.log_bytes, calls_.log, text);
  while (!text.empty() && text.back() == '\0') text.pop_back();
  const Log log(text);
  out.log = log.rest();
  out.resources = log.resources();
  const bool got = result == 0 && get(calls_.cubin_bytes, calls_.cubin, out.cubin) &&
                   get(calls_.ptx_bytes, calls_.ptx, out.ptx);
  while (!out.ptx.empty() && out.ptx.back() == '\0') out.ptx.pop_back();
  if (got) return {};
  constexpr int kNoBuiltins = 7;
  if (result == kNoBuiltins)
    return unsupported(
        "NVRTC %d.%d (%s) compiles nothing without libnvrtc-builtins.so.%d.%d, which it does not "
        "find: install it beside.",
        version_ / 1000, version_ / 10 % 100, path_.c_str(), version_ / 1000, version_ / 10 % 100);
  // A program with an error fails in every NVRTC. Other failures may not occur in the next one.
  constexpr int kWrongProgram = 6;
  Status status = failed("NVRTC %d.%d (%s) could not compile %s for %s (error %d): %s",
                         version_ / 1000, version_ / 10 % 100, path_.c_str(), program.name.c_str(),
                         target_of(program).c_str(), result, beginning(out.log).c_str());
  if (result != kWrongProgram) status.code = TW_UNSUPPORTED;
  return status;
}

}  // namespace tilewise::cuda
