// The unfused matmuls by OpenBLAS, which is opened at run time: nothing is linked to it.
#include <dlfcn.h>
#include <fmt/core.h>

#include <chrono>
#include <cstdlib>

#include "bench/peer.h"
#include "bench/unfused.h"

namespace tilewise::cli {
namespace {

// CBLAS's sgemm with 32-bit integers, as distributions build it.
using Sgemm = void (*)(int order, int transpose_a, int transpose_b, int m, int n, int k,
                       float alpha, const float* a, int a_stride, const float* b, int b_stride,
                       float beta, float* c, int c_stride);
constexpr int kRowMajor = 101, kAsItIs = 111, kTransposed = 112;

Sgemm sgemm = nullptr;

void multiply(const Product& product) {
  const auto transposition = [](const Product::Operand& operand) {
    return operand.is_transposed ? kTransposed : kAsItIs;
  };
  const auto narrow = [](std::int64_t value) { return static_cast<int>(value); };
  sgemm(kRowMajor, transposition(product.a), transposition(product.b), narrow(product.c.rows),
        narrow(product.c.columns), narrow(product.inner), product.alpha, product.a.data,
        narrow(product.a.stride), product.b.data, narrow(product.b.stride), product.beta,
        product.c.data, narrow(product.c.stride));
}

template <class Function>
Function symbol(void* library, const char* name) {
  return reinterpret_cast<Function>(dlsym(library, name));
}

void* open_library() {
  // OpenBLAS gets one thread for each product, because the products are small. Unfused runs several
  // products at once, on the threads of its Team.
  setenv("OPENBLAS_NUM_THREADS", "1", 1);
  const char* given = std::getenv("TILEWISE_OPENBLAS");
  const std::string wanted = given != nullptr ? given : "";
  for (const std::string& name :
       wanted.empty() ? std::vector<std::string>{"libopenblas.so.0", "libopenblas.so"}
                      : std::vector<std::string>{wanted}) {
    if (void* library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
  }
  throw PeerLost(fmt::format("there is no {} (Debian and Ubuntu: libopenblas0-pthread)",
                             wanted.empty() ? "libopenblas.so.0" : wanted));
}

class OpenBlasPeer : public Peer {
 public:
  explicit OpenBlasPeer(int threads) : team_(threads) {
    // Never closed: closing a library that has started threads is not safe.
    void* library = open_library();
    sgemm = symbol<Sgemm>(library, "cblas_sgemm");
    if (sgemm == nullptr) throw PeerLost("the library that was opened has no cblas_sgemm");
    if (const auto limit = symbol<void (*)(int)>(library, "openblas_set_num_threads")) limit(1);
    if (const auto config = symbol<const char* (*)()>(library, "openblas_get_config")) {
      version_ = config();
    }
  }

  [[nodiscard]] std::string version() const override { return version_; }

  std::optional<double> prepare(const PeerCase& wanted) override {
    work_.reset();
    if (wanted.shape->dtype != "float32") return std::nullopt;
    is_backward_ = wanted.operation == TW_BACKWARD;
    work_ = std::make_unique<Unfused>(wanted, multiply, team_);
    work_->forward();
    time_once();
    return time_once();
  }

  std::vector<double> run(double budget) override {
    constexpr std::size_t kMostRuns = 2000;
    std::vector<double> times;
    for (double spent = 0; times.empty() || (spent < budget && times.size() < kMostRuns);) {
      times.push_back(time_once());
      spent += times.back();
    }
    return times;
  }

 private:
  double time_once() {
    const auto start = std::chrono::steady_clock::now();
    is_backward_ ? work_->backward() : work_->forward();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  Team team_;
  std::string version_;
  std::unique_ptr<Unfused> work_;
  bool is_backward_ = false;
};

}  // namespace

std::unique_ptr<Peer> open_openblas_peer(int threads) {
  return std::make_unique<OpenBlasPeer>(threads);
}

}  // namespace tilewise::cli
