#include "backends/cuda/compiler/dump.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "backends/cuda/compiler/descriptor.h"

namespace tilewise::cuda {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// Creates the folder of a name like "core/mask.h".
bool make_folders_of(int folder, const std::string& name) {
  for (std::size_t at = 0; (at = name.find('/', at)) != std::string::npos; ++at)
    if (mkdirat(folder, name.substr(0, at).c_str(), 0777) != 0 && errno != EEXIST) return false;
  return true;
}

bool write_in(int folder, const std::string& name, std::span<const std::byte> bytes) {
  const std::size_t slash = name.rfind('/');
  if (slash == std::string::npos) return write_file(folder, name, bytes);
  if (!make_folders_of(folder, name)) return false;
  const Descriptor inner(
      openat(folder, name.substr(0, slash).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return inner.open() && write_file(inner.number(), name.substr(slash + 1), bytes);
}

Status cannot_write(const std::string& folder, int why) {
  if (why == EFBIG)
    return failed(
        "TILEWISE_DUMP is %s, for which a file is larger than this process may write: raise its "
        "limit (ulimit -f), or unset TILEWISE_DUMP.",
        folder.c_str());
  return failed("TILEWISE_DUMP is %s, where nothing can be written: %s. Name a folder of your own.",
                folder.c_str(), std::strerror(why));
}

// The path becomes part of the compiled text; quotes and line breaks would end it there.
bool has_ends(const std::string& path) {
  return path.find_first_of("\"\n\r") != std::string::npos;
}

bool write_sources(int folder, const Program& program) {
  for (const Source& source : embedded_sources())
    if (!write_in(folder, source.name,
                  std::as_bytes(std::span(source.text, std::strlen(source.text)))))
      return false;
  return write_in(folder, program.name, bytes_of(program.text));
}

}  // namespace

Status compile_in(const std::string& folder, const Nvrtc& nvrtc, const Program& program,
                  const std::string& arch, Compiled& out) {
  mkdir(folder.c_str(), 0777);
  const Descriptor opened(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!opened.open()) return cannot_write(folder, errno);
  char* real = realpath(folder.c_str(), nullptr);
  const std::string path = real ? real : folder;
  std::free(real);
  if (has_ends(path))
    return failed(
        "TILEWISE_DUMP is a folder whose path has a quotation mark or the end of a line in it: "
        "name "
        "one that has none.");
  if (!write_sources(opened.number(), program)) return cannot_write(folder, errno);
  Program from_files = program;
  from_files.name = path + "/" + program.name;
  from_files.options.push_back("--include-path=" + path);
  from_files.options.emplace_back("--generate-line-info");
  const Status status = nvrtc.compile(from_files, {}, out);
  if (!status.ok()) return status;
  const std::string stem = program.name.substr(0, program.name.rfind('.')) + "." + arch;
  if (!write_in(opened.number(), stem + ".ptx", bytes_of(out.ptx)) ||
      !write_in(opened.number(), stem + ".cubin", out.cubin))
    return cannot_write(folder, errno);
  return {};
}

}  // namespace tilewise::cuda
