#include "cuda_device/twins.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace tilewise::gpu {
namespace {

constexpr std::int64_t kBatch = 2, kQueries = 5, kKeys = 9, kHeads = 4, kKeyHeads = 2, kDim = 24;

std::size_t count_of(std::initializer_list<std::int64_t> shape) {
  std::size_t count = 1;
  for (const std::int64_t size : shape) count *= static_cast<std::size_t>(size);
  return count;
}

std::size_t bytes_of(const Tensor& tensor) {
  std::size_t bytes = tw_dtype_bytes(tensor.dtype);
  for (std::int32_t axis = 0; axis < tensor.rank; ++axis)
    bytes *= static_cast<std::size_t>(tensor.shape[axis]);
  return bytes;
}

Address address_of(const Tensor& tensor) {
  return static_cast<Address>(reinterpret_cast<std::uintptr_t>(tensor.data));
}

// The call may return before the bytes have arrived, and streams that wait for no other would not
// see them.
void upload(Address to, const void* from, std::size_t bytes) {
  must(started().to_device(to, from, bytes), "a copy");
  must(driver().wait(nullptr), "to wait for a copy");
}

}  // namespace

Twins::~Twins() {
  for (const Twin& twin : twins_) driver().release(twin.all);
}

Twins::Twin& Twins::take(std::size_t bytes) {
  Twin& twin = twins_.emplace_back();
  twin.size = bytes;
  twin.host.resize(bytes / sizeof(double) + 1);
  must(started().allocate(&twin.all, bytes + 2 * kBand), "memory");
  const std::vector<unsigned char> ones(bytes + 2 * kBand, 0xFF);
  upload(twin.all, ones.data(), ones.size());
  std::memset(twin.host.data(), 0xFF, bytes);
  return twin;
}

Tensor Twins::made(const void* from, std::size_t bytes, tw_dtype dtype,
                   std::initializer_list<std::int64_t> shape) {
  Twin& twin = take(bytes);
  Tensor tensor = dense(reinterpret_cast<void*>(twin.all + kBand), dtype, shape);
  if (from) write(tensor, from);
  return tensor;
}

Tensor Twins::floats(std::initializer_list<std::int64_t> shape) {
  std::vector<float> numbers(count_of(shape));
  for (float& number : numbers) number = static_cast<float>(std::sin(++drawn_ * 1.7));
  return made(numbers.data(), numbers.size() * sizeof(float), TW_FLOAT32, shape);
}

Tensor Twins::integers(const std::vector<std::int32_t>& numbers,
                       std::initializer_list<std::int64_t> shape) {
  return made(numbers.data(), numbers.size() * sizeof(std::int32_t), TW_INT32, shape);
}

Tensor Twins::longs(const std::vector<std::int64_t>& numbers) {
  return made(numbers.data(), numbers.size() * sizeof(std::int64_t), TW_INT64,
              {static_cast<std::int64_t>(numbers.size())});
}

Tensor Twins::blank(std::initializer_list<std::int64_t> shape) {
  return made(nullptr, count_of(shape) * sizeof(float), TW_FLOAT32, shape);
}

Address Twins::bytes(std::size_t count) {
  return take(count).all + kBand;
}

const Twins::Twin& Twins::twin_of(const Tensor& tensor) const {
  const auto found = std::find_if(twins_.begin(), twins_.end(), [&](const Twin& twin) {
    return twin.all + kBand == address_of(tensor);
  });
  if (found == twins_.end()) must(1, "to find a twin");
  return *found;
}

Tensor Twins::on_host(const Tensor& tensor) const {
  if (tensor.rank == 0) return tensor;
  Tensor twin = tensor;
  twin.data = twin_of(tensor).host.data();
  return twin;
}

Request Twins::on_host(const Request& request) const {
  Request twin = request;
  for (Tensor* tensor :
       {&twin.query, &twin.key, &twin.value, &twin.output, &twin.lse, &twin.queries.offsets,
        &twin.queries.used, &twin.queries.start, &twin.keys.offsets, &twin.keys.used,
        &twin.keys.start, &twin.cache.page_table, &twin.cache.batch_index, &twin.mask.visible})
    *tensor = on_host(*tensor);
  return twin;
}

std::vector<float> Twins::read(const Tensor& tensor) const {
  std::vector<float> numbers(bytes_of(tensor) / sizeof(float));
  must(started().to_host(numbers.data(), address_of(tensor), numbers.size() * sizeof(float)),
       "a copy");
  return numbers;
}

void Twins::write(const Tensor& tensor, const void* from) const {
  const Twin& twin = twin_of(tensor);
  std::memcpy(twin.host.data(), from, twin.size);
  upload(twin.all + kBand, from, twin.size);
}

void Twins::blank_again(const Tensor& tensor) const {
  const std::vector<unsigned char> ones(bytes_of(tensor), 0xFF);
  upload(address_of(tensor), ones.data(), ones.size());
}

bool Twins::is_intact() const {
  return std::all_of(twins_.begin(), twins_.end(), [](const Twin& twin) {
    std::vector<unsigned char> all(twin.size + 2 * kBand);
    must(started().to_host(all.data(), twin.all, all.size()), "a copy");
    const auto is_band = [](unsigned char each) { return each == 0xFF; };
    const auto first = all.begin() + kBand;
    return std::all_of(all.begin(), first, is_band) &&
           std::all_of(first + static_cast<std::ptrdiff_t>(twin.size), all.end(), is_band);
  });
}

float difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return std::numeric_limits<float>::infinity();
  float most = 0;
  for (std::size_t n = 0; n < a.size(); ++n) {
    const float apart = a[n] == b[n] ? 0 : std::abs(a[n] - b[n]);
    if (!(apart <= most)) most = apart;
    if (std::isnan(most)) return most;
  }
  return most;
}

std::vector<float> expected(const Twins& twins, const Request& request) {
  const Request twin = twins.on_host(request);
  Execution plain;
  plain.backend = "plain";
  const Status status = forward(twin, plain);
  EXPECT_TRUE(status.ok()) << status.message;
  const auto* output = static_cast<const float*>(twin.output.data);
  return {output, output + bytes_of(request.output) / sizeof(float)};
}

Request attention(Twins& twins) {
  Request request;
  request.query = twins.floats({kBatch, kQueries, kHeads, kDim});
  request.key = twins.floats({kBatch, kKeys, kKeyHeads, kDim});
  request.value = twins.floats({kBatch, kKeys, kKeyHeads, kDim});
  request.output = twins.blank({kBatch, kQueries, kHeads, kDim});
  request.mask = causal();
  return request;
}

Request paged(Twins& twins, const std::vector<std::int32_t>& used,
              const std::vector<std::int32_t>& table) {
  Request request;
  request.query = twins.floats({kBatch, kQueries, kHeads, kDim});
  request.key = twins.floats({kPages, kPageSize, kKeyHeads, kDim});
  request.value = twins.floats({kPages, kPageSize, kKeyHeads, kDim});
  request.output = twins.blank({kBatch, kQueries, kHeads, kDim});
  request.keys = {.used = twins.integers(used, {kBatch})};
  request.cache = {.page_table = twins.integers(table, {kBatch, kColumns})};
  return request;
}

Execution on_device(Handle stream) {
  Execution where;
  where.device = {TW_CUDA, 0};
  where.stream = stream;
  where.device_tables = true;
  return where;
}

}  // namespace tilewise::gpu
