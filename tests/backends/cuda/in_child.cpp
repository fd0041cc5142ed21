#include "in_child.h"

#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/cuda/driver/driver.h"

namespace tilewise::cuda {

std::string in_child(const std::function<std::string(FakeCuda&)>& body) {
  int ends[2];
  if (pipe(ends) != 0) return "no pipe";
  const pid_t child = fork();
  if (child == 0) {
    void* library = dlopen(TILEWISE_FAKE_CUDA, RTLD_NOW | RTLD_GLOBAL);
    const auto fake =
        library ? reinterpret_cast<FakeCuda* (*)()>(dlsym(library, "tilewise_fake_cuda")) : nullptr;
    // By its path, because NVRTC may have opened the machine's libcuda.so.1 already.
    replace_driver(TILEWISE_FAKE_CUDA);
    const std::string said = fake ? body(*fake()) : "the fake driver does not open";
    const bool written = write(ends[1], said.data(), said.size()) >= 0;
    _exit(written ? 0 : 1);
  }
  close(ends[1]);
  std::string said;
  char buffer[512];
  for (ssize_t got = 0; (got = read(ends[0], buffer, sizeof buffer)) > 0;)
    said.append(buffer, static_cast<std::size_t>(got));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? said : "the child died: " + said;
}

}  // namespace tilewise::cuda
